#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"
#include "messages/wire/detail_sampling.hpp"

namespace troupe::wire::detail {

static std::uint64_t read_ticket(std::uint64_t in, checks& check) {
  check.require(in >= 1, "ticket", "be at least 1");
  return in;
}

static void build(const stream_sample_request& in, schema::StreamSampleRequest::Builder out,
                  checks& check) {
  build(in.request, out.initRequest(), check);
}

static stream_sample_request read(schema::StreamSampleRequest::Reader in, checks& check) {
  stream_sample_request out{read(in.getRequest(), check)};
  (void)read_ticket(out.request.ticket, check);
  return out;
}

static void build(const read_sample_request& in, schema::ReadSampleRequest::Builder out, checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setTicket(in.ticket);
  out.setChunk(in.chunk);
}

static read_sample_request read(schema::ReadSampleRequest::Reader in, checks& check) {
  read_sample_request out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.ticket = read_ticket(in.getTicket(), check);
  out.chunk = in.getChunk();
  return out;
}

static void build(const sample_chunk& in, schema::SampleChunk::Builder out, checks& check) {
  out.setChunk(in.chunk);
  build(in.part, out.initPart(), check);
  write_numbers(in.ended, limits::samples_per_request_max, "ended", check,
                [&](unsigned n) { return out.initEnded(n); });
  out.setIsLast(in.is_last);
}

static sample_chunk read(schema::SampleChunk::Reader in, checks& check) {
  sample_chunk out;
  out.chunk = in.getChunk();
  out.part = read(in.getPart(), check);
  const auto ended = in.getEnded();
  if (!check.at_most(ended.size(), limits::samples_per_request_max, "ended")) return out;
  for (const std::uint32_t sample : ended) {
    check.require(sample < out.part.sequences.size(), "ended", "name samples of the part");
    out.ended.push_back(sample);
  }
  out.is_last = in.getIsLast();
  return out;
}

static void build(const cancel_sample_request& in, schema::CancelSampleRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setTicket(in.ticket);
}

static cancel_sample_request read(schema::CancelSampleRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)},
          read_ticket(in.getTicket(), check)};
}

template <>
struct schema_of<stream_sample_request> : is_schema<schema::StreamSampleRequest> {};
template <>
struct schema_of<read_sample_request> : is_schema<schema::ReadSampleRequest> {};
template <>
struct schema_of<sample_chunk> : is_schema<schema::SampleChunk> {};
template <>
struct schema_of<cancel_sample_request> : is_schema<schema::CancelSampleRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<stream_sample_request>;
template struct codec<read_sample_request>;
template struct codec<sample_chunk>;
template struct codec<cancel_sample_request>;

}  // namespace troupe::wire
