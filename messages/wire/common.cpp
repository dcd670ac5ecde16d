#include "config/limits.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"

namespace troupe::wire::detail {

void build(const error& in, schema::Error::Builder out, checks&) {
  out.setCode(wire_enum<schema::ErrorCode>(in.code));
  out.setWhat(text(prose(in.what)));
  out.setCause(text(prose(in.cause)));
  out.setAction(text(prose(in.action)));
}

error read(schema::Error::Reader in, checks& check) {
  error out;
  out.code = read_enum(in.getCode(), errc::rolled_back, "error.code", check);
  out.what = read_prose(in.getWhat(), "error.what", check);
  out.cause = read_prose(in.getCause(), "error.cause", check);
  out.action = read_prose(in.getAction(), "error.action", check);
  return out;
}

void build(const state_digest& in, schema::StateDigest::Builder out) {
  out.setLow(in.low);
  out.setHigh(in.high);
}

state_digest read(schema::StateDigest::Reader in) {
  return {in.getLow(), in.getHigh()};
}

void build(const named_number& in, schema::NamedNumber::Builder out, checks&) {
  out.setName(text(in.first));
  out.setValue(in.second);
}

named_number read(schema::NamedNumber::Reader in, checks& check) {
  return {read_text(in.getName(), limits::name_bytes_max, "the name of a number", check),
          in.getValue()};
}

void build(const model_config& in, schema::ModelConfig::Builder out) {
  out.setFamily(wire_enum<schema::ModelFamily>(in.family));
  out.setVocabSize(in.vocab_size);
  out.setHiddenSize(in.hidden_size);
  out.setIntermediateSize(in.intermediate_size);
  out.setNumLayers(in.num_layers);
  out.setNumHeads(in.num_heads);
  out.setNumKvHeads(in.num_kv_heads);
  out.setHeadDim(in.head_dim);
  out.setMaxPositions(in.max_positions);
  out.setRopeTheta(in.rope_theta);
  out.setRmsNormEps(in.rms_norm_eps);
  out.setTiedHead(in.tied_head);
  if (in.experts != expert_config{}) {
    auto experts = out.initExperts();
    experts.setCount(in.experts.count);
    experts.setPerToken(in.experts.per_token);
    experts.setWidth(in.experts.width);
    experts.setWeightsSumToOne(in.experts.weights_sum_to_one);
  }
  if (in.rope == rope_scaling{}) return;
  auto rope = out.initRope();
  rope.setKind(wire_enum<schema::RopeKind>(in.rope.kind));
  rope.setFactor(in.rope.factor);
  rope.setLowFreqFactor(in.rope.low_freq_factor);
  rope.setHighFreqFactor(in.rope.high_freq_factor);
  rope.setOriginalPositions(in.rope.original_positions);
}

static rope_scaling read_rope(schema::RopeScaling::Reader in, checks& check) {
  rope_scaling out;
  out.kind = read_enum(in.getKind(), rope_kind::llama3, "model.rope", check);
  out.factor = in.getFactor();
  out.low_freq_factor = in.getLowFreqFactor();
  out.high_freq_factor = in.getHighFreqFactor();
  for (const double value : {out.factor, out.low_freq_factor, out.high_freq_factor})
    check.require(std::isfinite(value), "model.rope", "hold finite numbers");
  out.original_positions = in.getOriginalPositions();
  check.require(out.original_positions <= limits::model_positions_max, "model.rope",
                "have at most " + std::to_string(limits::model_positions_max) + " positions");
  return out;
}

static expert_config read_experts(schema::ExpertConfig::Reader in, checks& check) {
  const expert_config out{in.getCount(), in.getPerToken(), in.getWidth(), in.getWeightsSumToOne()};
  check.require(
      out.count <= limits::model_experts_max && out.per_token <= limits::model_experts_max,
      "model.experts", "be at most " + std::to_string(limits::model_experts_max));
  check.require(out.width <= limits::model_width_max, "model.experts",
                "have at most " + std::to_string(limits::model_width_max) + " inner elements");
  return out;
}

model_config read(schema::ModelConfig::Reader in, checks& check) {
  const auto size = [&](std::uint32_t value, std::uint64_t limit, std::string_view field) {
    check.require(value <= limit, field, "be at most " + std::to_string(limit));
    return value;
  };
  const auto number = [&](double value, std::string_view field) {
    check.require(std::isfinite(value), field, "be finite");
    return value;
  };
  model_config out;
  out.family = read_enum(in.getFamily(), model_family::qwen3_moe, "model.family", check);
  out.vocab_size = size(in.getVocabSize(), limits::model_vocab_max, "model.vocab_size");
  out.hidden_size = size(in.getHiddenSize(), limits::model_width_max, "model.hidden_size");
  out.intermediate_size =
      size(in.getIntermediateSize(), limits::model_width_max, "model.intermediate_size");
  out.num_layers = size(in.getNumLayers(), limits::model_layers_max, "model.num_layers");
  out.num_heads = size(in.getNumHeads(), limits::model_heads_max, "model.num_heads");
  out.num_kv_heads = size(in.getNumKvHeads(), limits::model_heads_max, "model.num_kv_heads");
  out.head_dim = size(in.getHeadDim(), limits::model_head_dim_max, "model.head_dim");
  out.max_positions =
      size(in.getMaxPositions(), limits::model_positions_max, "model.max_positions");
  out.rope_theta = number(in.getRopeTheta(), "model.rope_theta");
  out.rms_norm_eps = number(in.getRmsNormEps(), "model.rms_norm_eps");
  out.tied_head = in.getTiedHead();
  if (in.hasRope()) out.rope = read_rope(in.getRope(), check);
  if (in.hasExperts()) out.experts = read_experts(in.getExperts(), check);
  return out;
}

void build(const lora_config& in, schema::LoraConfig::Builder out) {
  out.setRank(in.rank);
  out.setAlpha(in.alpha);
  out.setSeed(in.seed);
  out.setTrainAttn(in.train_attn);
  out.setTrainMlp(in.train_mlp);
  out.setTrainUnembed(in.train_unembed);
  if (!in.targets) return;
  auto targets = out.initTargets(static_cast<unsigned>(in.targets->size()));
  unsigned place = 0;
  for (const lora_target target : *in.targets)
    targets.set(place++, wire_enum<schema::LoraTarget>(target));
}

static std::set<lora_target> read_targets(capnp::List<schema::LoraTarget>::Reader in,
                                          checks& check) {
  constexpr auto last = lora_target::lm_head;
  std::set<lora_target> out;
  check.require(in.size() > 0, "lora.targets", "name at least one matrix, or be left out");
  if (!check.at_most(in.size(), static_cast<std::size_t>(last) + 1, "lora.targets")) return out;
  for (const auto each : in) {
    const lora_target target = read_enum(each, last, "lora.targets", check);
    check.require(out.empty() || target > *out.rbegin(), "lora.targets",
                  "name each matrix once, in order");
    out.insert(target);
  }
  return out;
}

lora_config read(schema::LoraConfig::Reader in, checks& check) {
  lora_config out;
  out.rank = in.getRank();
  check.require(out.rank >= 1 && out.rank <= limits::lora_rank_max, "lora.rank",
                "be 1 to " + std::to_string(limits::lora_rank_max));
  out.alpha = in.getAlpha();
  check.require(std::isfinite(out.alpha) && out.alpha > 0, "lora.alpha", "be finite and positive");
  out.seed = in.getSeed();
  out.train_attn = in.getTrainAttn();
  out.train_mlp = in.getTrainMlp();
  out.train_unembed = in.getTrainUnembed();
  if (in.hasTargets()) out.targets = read_targets(in.getTargets(), check);
  return out;
}

void build(const model_source& in, schema::ModelSource::Builder out) {
  out.setDirectory(text(in.directory));
}

model_source read(schema::ModelSource::Reader in, checks& check) {
  model_source out;
  out.directory = read_text(in.getDirectory(), limits::path_bytes_max, "model.directory", check);
  check.require(out.directory.starts_with('/'), "model.directory", "be an absolute path");
  return out;
}

template <>
struct schema_of<error> : is_schema<schema::Error> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<error>;

}  // namespace troupe::wire
