#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <zstd.h>

#include "apps/gateway/age_recipient.hpp"
#include "apps/gateway/body_coding.hpp"
#include "apps/gateway/forward_loss.hpp"
#include "apps/gateway/token_texts.hpp"
#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/json_fields.hpp"
#include "messages/tinker/requests.hpp"
#include "messages/tinker/sample_call.hpp"
#include "messages/tinker/tinker_public.pb.h"
#include "messages/tinker/training_call.hpp"
#include "tests/fuzz/fuzz_target.hpp"

// An input is one byte that picks the decoder, and what it decodes: bodies that anybody with a key
// can send. What is accepted must be small enough and good enough for the cluster's own messages.

using namespace troupe;
using namespace troupe::tinker;

namespace {

constexpr std::size_t unpacked_bytes_max = 1 << 20;

enum class pick : std::uint8_t { training, sample, create, load, step, path, zstd, tokenizer };
constexpr std::uint8_t num_picks = 8;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Rows of one datum fit together.
void try_training(std::string_view bytes) {
  const auto call = decode_training_call(bytes);
  if (!call || !call->body) return;
  const std::vector<datum>* batch = nullptr;
  if (const auto* op = std::get_if<forward_op>(&*call->body)) batch = &op->batch;
  if (const auto* op = std::get_if<forward_backward_op>(&*call->body)) batch = &op->batch;
  require(batch != nullptr && !batch->empty());
  for (const datum& row : *batch)
    require(!row.tokens.empty() && row.target_tokens.size() % row.tokens.size() == 0);
  (void)gateway::forward_loss::of(call->loss, call->loss_config, *batch);
}

void try_sample(const boost::json::object& object) {
  const auto call = decode_sample_call(object);
  if (call && call->body) require(!call->body->request.prompt.empty());
}

void try_json(pick which, std::string_view text) {
  const auto object = parse_object(text);
  if (!object) return;
  if (which == pick::sample) try_sample(*object);
  if (which == pick::create) (void)decode_create_model(*object);
  if (which == pick::load) (void)decode_load_weights(*object);
  if (which == pick::step) (void)decode_optim_step(*object);
}

void try_path(std::string_view text) {
  (void)gateway::parse_age_recipient(text);
  const auto path = parse_checkpoint_path(text);
  if (path) require(parse_checkpoint_path(to_string(*path)) == path);
}

void try_zstd(std::string_view bytes) {
  const auto body = gateway::decoded_body("zstd", std::string(bytes), unpacked_bytes_max);
  if (body) require(body->size() <= unpacked_bytes_max);
}

fuzz::input seed(pick which, const std::string& bytes) {
  fuzz::input out(1 + bytes.size(), static_cast<std::uint8_t>(which));
  std::copy(bytes.begin(), bytes.end(), out.begin() + 1);
  return out;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string training_body(bool is_sparse) {
  tinker_public::ForwardBackwardRequest out;
  out.set_model_id("key-session:train:0");
  out.set_seq_id(1);
  out.set_loss_fn("cross_entropy");
  (*out.mutable_loss_fn_config_v2())["clip_low_threshold"].set_number(0.5);
  auto* row = out.add_data();
  const std::vector<std::int32_t> tokens{1, 2, 3};
  row->add_model_input()->mutable_encoded_text()->set_tokens(bytes_of(tokens));
  auto& targets = (*row->mutable_loss_fn_inputs())["target_tokens"];
  targets.set_dtype(tinker_public::DTYPE_INT64);
  targets.set_dense(bytes_of(std::vector<std::int64_t>{2, 3, 4}));
  targets.add_shape(3);
  auto& weights = (*row->mutable_loss_fn_inputs())["weights"];
  weights.set_dtype(tinker_public::DTYPE_FLOAT32);
  weights.add_shape(3);
  if (is_sparse) {
    weights.add_shape(1);
    auto* csr = weights.mutable_sparse_csr();
    csr->set_values(bytes_of(std::vector<float>{2.0F}));
    csr->set_crow_indices(bytes_of(std::vector<std::int64_t>{0, 0, 1, 1}));
    csr->set_col_indices(bytes_of(std::vector<std::int64_t>{0}));
  } else {
    weights.set_dense(bytes_of(std::vector<float>{1, 0, 1}));
  }
  return out.SerializeAsString();
}

std::string packed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

}  // namespace

std::vector<fuzz::input> fuzz::seed_inputs() {
  return {
      seed(pick::training, training_body(false)),
      seed(pick::training, training_body(true)),
      seed(pick::sample,
           R"({"sampling_session_id":"s","seq_id":0,"num_samples":2,"prompt":{"chunks":[{"type":)"
           R"("encoded_text","tokens":[1,2]}]},"sampling_params":{"max_tokens":4,"stop":["x",3]},)"
           R"("prompt_logprobs":true,"topk_prompt_logprobs":2})"),
      seed(pick::create, R"({"session_id":"s","model_seq_id":0,"base_model":"m","lora_config":)"
                         R"({"rank":8,"seed":1},"user_metadata":{"a":"b"}})"),
      seed(pick::load,
           R"({"session_id":"s","model_seq_id":1,"path":"tinker://s:train:0/weights/n",)"
           R"("optimizer":true})"),
      seed(pick::step, R"({"model_id":"m","seq_id":1,"adam_params":{"learning_rate":0.1}})"),
      seed(pick::path, "tinker://s:train:0/sampler_weights/name"),
      seed(pick::path, "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
      seed(pick::zstd, packed(std::string(5000, 'a') + "tail")),
      seed(pick::tokenizer, R"({"model":{"vocab":{"a":0,"\u0120b":1}},"decoder":{"type":)"
                            R"("ByteLevel"},"added_tokens":[{"id":2,"content":"x"}]})"),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto which = static_cast<pick>(data[0] % num_picks);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (which == pick::training) try_training(rest);
  if (which == pick::path) try_path(rest);
  if (which == pick::zstd) try_zstd(rest);
  if (which == pick::tokenizer) (void)gateway::token_texts::parse(rest);
  try_json(which, rest);
  return 0;
}
