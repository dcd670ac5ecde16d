#include "apps/gateway/http_server.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using tcp = boost::asio::ip::tcp;
namespace ssl = boost::asio::ssl;
using problem_code = beast::error_code;
using plain_stream = beast::tcp_stream;
using tls_stream = beast::ssl_stream<beast::tcp_stream>;

std::string text_of(beast::string_view view) {
  return std::string(view.data(), view.size());
}

std::string credential_of(const http::fields& headers) {
  if (const auto key = headers.find("X-API-Key"); key != headers.end()) {
    return text_of(key->value());
  }
  const std::string bearer = text_of(headers[http::field::authorization]);
  return bearer.starts_with("Bearer ") ? bearer.substr(7) : std::string();
}

http_call call_of(const http::request_header<>& header) {
  http_call out;
  out.method = text_of(header.method_string());
  out.path = text_of(header.target());
  if (const auto mark = out.path.find('?'); mark != std::string::npos) {
    out.query = out.path.substr(mark + 1);
    out.path.resize(mark);
  }
  out.content_type = text_of(header[http::field::content_type]);
  out.content_encoding = text_of(header[http::field::content_encoding]);
  out.host = text_of(header[http::field::host]);
  out.credential = credential_of(header);
  return out;
}

struct shared_state {
  http_handlers handlers;
  std::size_t num_connections = 0;
};

template <class Stream>
class connection : public std::enable_shared_from_this<connection<Stream>> {
 public:
  template <class... Context>
  connection(std::shared_ptr<shared_state> shared, tcp::socket socket, Context&... context)
      : stream_(std::move(socket), context...), shared_(std::move(shared)) {
    ++shared_->num_connections;
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() { --shared_->num_connections; }

  void start() {
    if constexpr (std::is_same_v<Stream, tls_stream>) {
      beast::get_lowest_layer(stream_).expires_after(deadlines::tls_handshake);
      stream_.async_handshake(ssl::stream_base::server,
                              [self = this->shared_from_this()](problem_code problem) {
                                if (!problem) self->read_header();
                              });
    } else {
      read_header();
    }
  }

  void read_header() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits::http_header_bytes_max));
    parser_->body_limit(limits::http_body_bytes_max);
    beast::get_lowest_layer(stream_).expires_after(deadlines::http_idle);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = this->shared_from_this()](problem_code problem, std::size_t) {
                              self->header_read(problem);
                            });
  }

 private:
  void header_read(problem_code problem) {
    if (problem) return refuse_broken(problem);
    call_ = call_of(parser_->get());
    if (auto refused = shared_->handlers.gate(call_)) return write(std::move(*refused), false);
    beast::get_lowest_layer(stream_).expires_after(deadlines::http_body);
    if (parser_->get()[http::field::expect] == "100-continue") {
      return refuse(417, "this server takes bodies without Expect", "send the body at once");
    }
    http::async_read(stream_, buffer_, *parser_,
                     [self = this->shared_from_this()](problem_code failed, std::size_t) {
                       self->body_read(failed);
                     });
  }

  void body_read(problem_code problem) {
    if (problem) return refuse_broken(problem);
    beast::get_lowest_layer(stream_).expires_never();
    call_.body = std::move(parser_->get().body());
    const bool keep_alive = parser_->get().keep_alive();
    shared_->handlers.serve(std::move(call_),
                            [self = this->shared_from_this(), keep_alive](reply answer) {
                              self->write(std::move(answer), keep_alive);
                            });
  }

  void refuse_broken(problem_code problem) {
    if (problem == http::error::body_limit) {
      return refuse(413, "the body is larger than this server takes", "split the batch");
    }
    const bool malformed = problem.category() == http::make_error_code(http::error{}).category() &&
                           problem != http::error::end_of_stream &&
                           problem != http::error::partial_message;
    if (malformed) return refuse(400, "this is no HTTP request: " + problem.message(), "");
  }

  void refuse(unsigned status, std::string what, std::string action) {
    write(refusal(status, {errc::invalid_argument, std::move(what), "", std::move(action)}), false);
  }

  void write(reply answer, bool keep_alive) {
    if (!answer.file.empty()) return write_file(std::move(answer), keep_alive);
    response_ = std::make_unique<http::response<http::string_body>>();
    response_->version(11);
    response_->result(answer.status);
    response_->set(http::field::content_type, answer.content_type);
    response_->keep_alive(keep_alive);
    response_->body() = std::move(answer.body);
    response_->prepare_payload();
    beast::get_lowest_layer(stream_).expires_after(deadlines::http_write);
    http::async_write(
        stream_, *response_,
        [self = this->shared_from_this(), keep_alive](problem_code problem, std::size_t) {
          self->response_.reset();
          if (!problem && keep_alive) self->read_header();
        });
  }

  void write_file(reply answer, bool keep_alive) {
    problem_code problem;
    file_response_ = std::make_unique<http::response<http::file_body>>();
    file_response_->body().open(answer.file.c_str(), beast::file_mode::scan, problem);
    if (problem) {
      return write(refusal({errc::not_found, "the file is not there any more", "it was removed",
                            "ask for a new URL"}),
                   keep_alive);
    }
    file_response_->version(11);
    file_response_->result(answer.status);
    file_response_->set(http::field::content_type, "application/octet-stream");
    file_response_->keep_alive(keep_alive);
    file_response_->prepare_payload();
    beast::get_lowest_layer(stream_).expires_after(deadlines::http_file_write);
    http::async_write(
        stream_, *file_response_,
        [self = this->shared_from_this(), keep_alive](problem_code failed, std::size_t) {
          self->file_response_.reset();
          if (!failed && keep_alive) self->read_header();
        });
  }

  Stream stream_;
  std::shared_ptr<shared_state> shared_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::unique_ptr<http::response<http::string_body>> response_;
  std::unique_ptr<http::response<http::file_body>> file_response_;
  http_call call_;
};

}  // namespace

struct http_server::acceptor : std::enable_shared_from_this<acceptor> {
  explicit acceptor(boost::asio::io_context& loop) : door(loop) {}

  void accept() {
    door.async_accept([self = shared_from_this()](problem_code problem, tcp::socket socket) {
      if (problem == boost::asio::error::operation_aborted) return;
      if (!problem && self->shared->num_connections < limits::http_connections_max) {
        problem_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        self->serve(std::move(socket));
      }
      self->accept();
    });
  }

  void serve(tcp::socket socket) {
    if (tls) {
      std::make_shared<connection<tls_stream>>(shared, std::move(socket), *tls)->start();
    } else {
      std::make_shared<connection<plain_stream>>(shared, std::move(socket))->start();
    }
  }

  tcp::acceptor door;
  std::optional<ssl::context> tls;
  std::shared_ptr<shared_state> shared = std::make_shared<shared_state>();
};

http_server::http_server(std::shared_ptr<acceptor> door) : acceptor_(std::move(door)) {}

http_server::~http_server() {
  problem_code ignored;
  acceptor_->door.close(ignored);
}

std::uint16_t http_server::port() const {
  problem_code ignored;
  return acceptor_->door.local_endpoint(ignored).port();
}

namespace {

result<ssl::context> tls_context(const tls_files& files) {
  ssl::context out(ssl::context::tls_server);
  problem_code problem;
  out.set_options(
      ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
      problem);
  if (!problem) out.use_certificate_chain_file(files.certificate, problem);
  if (problem) {
    return fail(errc::invalid_argument, "cannot use the certificate " + files.certificate,
                problem.message(), "give a PEM file with the server's certificate first");
  }
  out.use_private_key_file(files.key, ssl::context::pem, problem);
  if (problem) {
    return fail(errc::invalid_argument, "cannot use the key " + files.key, problem.message(),
                "give the PEM file of the certificate's own private key");
  }
  return out;
}

}  // namespace

result<std::unique_ptr<http_server>> http_server::listen(boost::asio::io_context& loop,
                                                         const std::string& host,
                                                         std::uint16_t port,
                                                         const std::optional<tls_files>& tls,
                                                         http_handlers handlers) {
  std::optional<ssl::context> context;
  if (tls) {
    auto made = tls_context(*tls);
    if (!made) return fail(made.error());
    context = std::move(*made);
  }
  problem_code problem;
  const auto address = boost::asio::ip::make_address(host, problem);
  auto door = std::make_shared<acceptor>(loop);
  const tcp::endpoint place(address, port);
  if (!problem) door->door.open(place.protocol(), problem);
  if (!problem) door->door.set_option(tcp::acceptor::reuse_address(true), problem);
  if (!problem) door->door.bind(place, problem);
  if (!problem) door->door.listen(boost::asio::socket_base::max_listen_connections, problem);
  if (problem) {
    return fail(errc::in_use, "cannot listen on " + host + ":" + std::to_string(port),
                problem.message(), "choose another port in [gateway], or 0 to have one picked");
  }
  door->shared->handlers = std::move(handlers);
  door->tls = std::move(context);
  door->accept();
  return std::unique_ptr<http_server>(new http_server(std::move(door)));
}

}  // namespace troupe::gateway
