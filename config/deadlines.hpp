#pragma once

// Every wait of the system. A wait that contains another is longer than it, which static_asserts
// prove, so that the inner one reports the cause before the outer one gives up.
//
// Units: std::chrono. Threading: constants.

#include <chrono>

namespace troupe::deadlines {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Nodes renew twice per second; a node silent for this long is treated as gone.
inline constexpr milliseconds lease_renewal{500};
inline constexpr milliseconds lease{3000};

/// Requests that only touch memory or RocksDB on the control node.
inline constexpr seconds store{30};
inline constexpr seconds control{30};

/// A rank may wait this long for the others inside one collective before it names the missing one.
inline constexpr seconds collective{60};

/// One piece of work of one rank, collectives included.
inline constexpr seconds shard_work{600};

/// An op on nodes that several tenants use may wait for this long for others of its own tenant.
inline constexpr seconds turn{3600};

/// Opening a shard: map libtorch, read a model.
inline constexpr seconds shard_open{300};

/// An engine waits this long for one before it to be gone from their GPU.
inline constexpr seconds device_free{120};

/// A set that cannot be completed because devices are missing waits this long before it says so.
inline constexpr seconds capacity{120};

/// Staging a base on a replica, and the commit between two decode steps; before it, sequences that
/// are to end on the old weights may take a while.
inline constexpr seconds stage{300};
inline constexpr seconds commit{30};
inline constexpr seconds finish_old{300};
inline constexpr seconds sync{660};

/// One sample request, queueing included.
inline constexpr seconds sample{600};

/// A stream whose reader asks for nothing for this long is ended: it holds memory of a sampler.
inline constexpr seconds stream_silence{60};

/// What a client waits for one attempt of an op, recovery included, before it asks again.
inline constexpr seconds op{1800};

/// What a command waits for a control node that does not answer, unless told otherwise: one that
/// was killed is there again after a second or two.
inline constexpr seconds command_wait{10};
inline constexpr seconds command_wait_max{600};

/// Connecting to a node and its handshake.
inline constexpr seconds connect{15};

/// Processes are asked to leave with SIGTERM and killed after this.
inline constexpr seconds shutdown{10};

/// A node that was asked to leave hands its work over within this, so that whoever asked need not
/// kill it.
inline constexpr seconds notice{8};
static_assert(notice < shutdown);

/// A run whose client has gone keeps its nodes for this long, unless the cluster file says
/// otherwise.
inline constexpr seconds client_gone{600};

/// Reading a checkpoint back.
inline constexpr seconds verify{600};

/// Folding a chain: its base is read once and encoded once.
inline constexpr seconds fold{600};

/// A temporary file of a machine whose locks cannot be seen from here is abandoned after this; a
/// living writer touches its file far more often.
inline constexpr seconds abandoned_write{3600};

/// From the start of a node's process until it is part of the cluster: map libtorch, open the
/// store.
inline constexpr seconds node_start{60};

/// An idle connection, a whole body and a whole answer over HTTP.
inline constexpr seconds http_idle{120};
inline constexpr seconds http_body{120};
inline constexpr seconds http_write{120};

/// From a connection to the end of its TLS handshake.
inline constexpr seconds tls_handshake{15};

/// A file of exported weights over HTTP.
inline constexpr seconds http_file_write{3600};

/// A poll for a result is answered "not yet" after this: clients lose patience after 45 s.
inline constexpr seconds long_poll{30};
static_assert(long_poll < seconds(40));

/// How long a result can be fetched again.
inline constexpr seconds future_kept{900};

/// How long exported weights can be fetched by the URL that was given out.
inline constexpr seconds export_url{3600};

/// A client that sends nothing for this long, not even heartbeats (10 s), has gone.
inline constexpr seconds session_silence{300};

/// A checkpoint whose chain was asked for is about to be read or served: nobody removes it.
inline constexpr seconds checkpoint_lease{900};

/// A file that nothing needs stays this long for those who began to read it before, and for a
/// writer of the same content whose record is still to come. Superseded snapshots are read by
/// nobody but their run, which has a newer one.
inline constexpr seconds garbage_grace{900};
inline constexpr seconds superseded_grace{60};

/// Unnamed sampler checkpoints that nothing needs are removed by themselves after this.
inline constexpr seconds sampler_checkpoint_kept{86'400};

static_assert(garbage_grace > shard_work + store, "a publish ends before its files are swept");
static_assert(checkpoint_lease > fold, "what is folded stays until the fold is recorded");
static_assert(checkpoint_lease > sync, "what a sync loads stays until it is recorded as live");
static_assert(lease > 4 * lease_renewal, "one lost renewal must not look like a dead node");
static_assert(turn >= 6 * shard_work, "a few slow ops of one tenant may stand before another");
static_assert(shard_work > collective, "the rank that misses a peer must report before its caller");
static_assert(shard_open > device_free, "a shard that waits for its GPU must say so");
static_assert(device_free > collective, "an engine that lost its peers leaves its GPU in time");
static_assert(sync > stage + commit + finish_old, "a sync contains staging and commit");
static_assert(finish_old > stream_silence, "a stream nobody reads cannot stop a sync");
static_assert(op > shard_work + shard_open + capacity, "an op may contain one whole recovery");

}  // namespace troupe::deadlines
