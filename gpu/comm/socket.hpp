#pragma once

// The little of the socket interface that ranks need: an owned descriptor, numeric addresses,
// non-blocking TCP.
//
// Threading: values. Errors: errc::invalid_argument for text that is no numeric address,
// errc::in_use and errc::peer_lost for what the kernel refuses; `what` carries its message.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "messages/error.hpp"

namespace troupe::gpu {

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor();

  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// A listening socket on a free port of a numeric interface address.
[[nodiscard]] result<descriptor> listen_on(const std::string& interface);

/// host:port of a listening socket; IPv6 hosts in brackets.
[[nodiscard]] result<std::string> local_address(const descriptor& socket);

/// Starts a connection; it is ready, or has failed, when the socket becomes writable.
[[nodiscard]] result<descriptor> start_connecting(const std::string& address);

/// Outcome of start_connecting, asked when the socket is writable.
[[nodiscard]] result<void> finish_connecting(const descriptor& socket);

/// Next waiting connection; an empty descriptor when there is none.
[[nodiscard]] descriptor accept_from(const descriptor& listener);

/// An event that other threads can raise.
[[nodiscard]] result<descriptor> make_event();
void raise(const descriptor& event);

/// What one non-blocking transfer did: bytes moved (0: try again later), or the peer is gone.
struct transfer {
  std::size_t bytes = 0;
  bool closed = false;
};
[[nodiscard]] transfer send_some(const descriptor& socket, std::span<const std::byte> bytes);
[[nodiscard]] transfer receive_some(const descriptor& socket, std::span<std::byte> bytes);

/// Ends both directions, so that the peer notices at once.
void shut_down(const descriptor& socket);

/// "operation: message of errno".
[[nodiscard]] std::string system_message(const std::string& operation);

}  // namespace troupe::gpu
