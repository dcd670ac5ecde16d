#include "messages/wire/detail_sampling.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

void build(const forward_details& in, schema::ForwardDetails::Builder out) {
  out.setTopkLogprobs(in.topk_logprobs);
  out.setEntropy(in.entropy);
  out.setEmbedding(wire_enum<schema::EmbeddingKind>(in.embedding));
}

forward_details read(schema::ForwardDetails::Reader in, checks& check) {
  return {read_topk(in.getTopkLogprobs(), "topk_logprobs", check), in.getEntropy(),
          read_enum(in.getEmbedding(), embedding_kind::per_token, "embedding", check)};
}

void build(const datum_details& in, schema::DatumDetails::Builder out, checks& check) {
  if (in.topk.per_position > 0) build(in.topk, out.initTopk(), check);
  write_numbers(in.entropies, limits::datum_tokens_max, "entropies", check,
                [&](unsigned n) { return out.initEntropies(n); });
  write_numbers(in.embedding, limits::answer_numbers_max, "embedding", check,
                [&](unsigned n) { return out.initEmbedding(n); });
}

datum_details read(schema::DatumDetails::Reader in, checks& check) {
  datum_details out;
  if (in.hasTopk()) out.topk = read(in.getTopk(), "topk", check);
  out.entropies = read_floats(in.getEntropies(), limits::datum_tokens_max, "entropies", check);
  out.embedding = read_floats(in.getEmbedding(), limits::answer_numbers_max, "embedding", check);
  return out;
}

}  // namespace troupe::wire::detail
