#include "gpu/comm/socket.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace troupe::gpu {
namespace {

using address_info = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

result<address_info> resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0)
    return fail(errc::invalid_argument,
                "\"" + host + "\" port \"" + port + "\" is not a numeric address",
                "ranks meet on numeric addresses, so that no name server can delay them",
                "name the interface by its IP address");
  return address_info(found, &freeaddrinfo);
}

/// Small frames must not wait for more bytes.
void send_at_once(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

descriptor::~descriptor() {
  if (fd_ >= 0) close(fd_);
}

std::string system_message(const std::string& operation) {
  return operation + ": " + std::generic_category().message(errno);
}

result<descriptor> listen_on(const std::string& interface) {
  auto address = resolve(interface, "0");
  if (!address) return fail(std::move(address.error()));
  descriptor fd(
      socket((*address)->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd || bind(fd.get(), (*address)->ai_addr, (*address)->ai_addrlen) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0)
    return fail(errc::in_use, system_message("cannot listen on " + interface),
                "the address is not one of this machine's interfaces",
                "set the address of this node in the cluster's configuration");
  return fd;
}

result<std::string> local_address(const descriptor& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  void* const raw = &address;
  auto* const generic = static_cast<sockaddr*>(raw);
  if (getsockname(socket.get(), generic, &length) != 0 ||
      getnameinfo(generic, length, host.data(), host.size(), port.data(), port.size(),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return fail(errc::internal, system_message("cannot read the address of a socket"), "",
                "report this bug");
  const std::string name = host.data();
  const bool is_v6 = name.find(':') != std::string::npos;
  return (is_v6 ? "[" + name + "]" : name) + ":" + port.data();
}

result<descriptor> start_connecting(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return fail(errc::invalid_argument, "\"" + address + "\" is not host:port", "",
                "pass the addresses that the ranks' listeners report");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  auto target = resolve(host, address.substr(colon + 1));
  if (!target) return fail(std::move(target.error()));
  descriptor fd(
      socket((*target)->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (fd && connect(fd.get(), (*target)->ai_addr, (*target)->ai_addrlen) != 0 &&
      errno != EINPROGRESS)
    return fail(errc::peer_lost, system_message("cannot connect to " + address),
                "the rank there has ended", "start the set again");
  if (!fd)
    return fail(errc::internal, system_message("cannot make a socket"),
                "the process has too many open files", "raise its limit of open files");
  send_at_once(fd.get());
  return fd;
}

result<void> finish_connecting(const descriptor& socket) {
  int code = 0;
  socklen_t length = sizeof code;
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &length);
  if (code == 0) return {};
  errno = code;
  return fail(errc::peer_lost, system_message("a rank cannot be reached"), "it has ended",
              "start the set again");
}

descriptor accept_from(const descriptor& listener) {
  descriptor fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd) send_at_once(fd.get());
  return fd;
}

result<descriptor> make_event() {
  descriptor fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd)
    return fail(errc::internal, system_message("cannot make an event"),
                "the process has too many open files", "raise its limit of open files");
  return fd;
}

void raise(const descriptor& event) {
  const std::uint64_t one = 1;
  // The only failure is a full counter: then the event is already raised.
  [[maybe_unused]] const auto written = write(event.get(), &one, sizeof one);
}

transfer send_some(const descriptor& socket, std::span<const std::byte> bytes) {
  const auto sent = send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return {static_cast<std::size_t>(sent), false};
  return {0, !would_block()};
}

transfer receive_some(const descriptor& socket, std::span<std::byte> bytes) {
  const auto received = recv(socket.get(), bytes.data(), bytes.size(), 0);
  if (received > 0) return {static_cast<std::size_t>(received), false};
  return {0, received == 0 || !would_block()};
}

void shut_down(const descriptor& socket) {
  if (socket) shutdown(socket.get(), SHUT_RDWR);
}

}  // namespace troupe::gpu
