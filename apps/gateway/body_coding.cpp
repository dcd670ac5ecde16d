#include "apps/gateway/body_coding.hpp"

#include <algorithm>
#include <memory>

#include <zstd.h>

namespace troupe::gateway {
namespace {

struct stream_end {
  void operator()(ZSTD_DStream* open) const { ZSTD_freeDStream(open); }
};

/// Memory that one stream may ask for as its window.
constexpr int window_log_max = 27;

tl::unexpected<error> damaged(const char* reason) {
  return fail(errc::invalid_argument, "the body is no zstd data", reason,
              "send it again, or without Content-Encoding");
}

result<std::string> unpack(std::string_view packed, std::size_t bytes_max) {
  const std::unique_ptr<ZSTD_DStream, stream_end> stream(ZSTD_createDStream());
  if (!stream) return fail(errc::busy, "no memory to unpack a body", "", "send it again later");
  ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, window_log_max);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::string out;
  std::string block(ZSTD_DStreamOutSize(), '\0');
  std::size_t left = 1;
  while (in.pos < in.size || left != 0) {
    ZSTD_outBuffer piece{block.data(), block.size(), 0};
    left = ZSTD_decompressStream(stream.get(), &piece, &in);
    if (ZSTD_isError(left) != 0) return damaged(ZSTD_getErrorName(left));
    if (out.size() + piece.pos > bytes_max) {
      return fail(errc::frame_too_large,
                  "the body unpacks to more than " + std::to_string(bytes_max) + " bytes", "",
                  "split the batch");
    }
    out.append(block.data(), piece.pos);
    const bool is_cut = in.pos == in.size && piece.pos < piece.size && left != 0;
    if (is_cut) return damaged("it was cut short");
  }
  return out;
}

}  // namespace

result<std::string> decoded_body(std::string_view coding, std::string body, std::size_t bytes_max) {
  if (coding.empty() || coding == "identity") return body;
  if (coding == "zstd") return unpack(body, bytes_max);
  return fail(errc::unsupported, "bodies coded as '" + std::string(coding.substr(0, 64)) + "'",
              "this server unpacks zstd only", "send the body plain");
}

}  // namespace troupe::gateway
