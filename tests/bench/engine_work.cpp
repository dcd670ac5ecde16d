#include "tests/bench/engine_work.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include <boost/json.hpp>

#include "gpu/models/parameter_layout.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/memory_reader.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace troupe::bench {
namespace {

namespace json = boost::json;

model_config model_of(const workload& w) {
  model_config m;
  m.vocab_size = w.vocabulary;
  m.hidden_size = w.hidden;
  m.intermediate_size = 3 * w.hidden;
  m.num_layers = w.layers;
  m.num_heads = std::max(1U, w.hidden / 64);
  m.num_kv_heads = std::max(1U, w.hidden / 128);
  m.head_dim = 64;
  m.max_positions = 4096;
  m.tied_head = true;
  return m;
}

std::string model_folder(const std::string& folder) {
  return folder + "/model";
}

std::string work_file(const std::string& folder) {
  return folder + "/work.json";
}

template <class Number>
json::array to_json(const std::vector<Number>& values) {
  return json::array(values.begin(), values.end());
}

template <class Number>
std::vector<Number> numbers(const json::value& from) {
  std::vector<Number> out;
  for (const json::value& value : from.as_array())
    out.push_back(value.to_number<Number>());
  return out;
}

}  // namespace

bool workload::is_mixed() const {
  return std::ranges::adjacent_find(lengths, std::ranges::not_equal_to{}) != lengths.end();
}

std::vector<workload> measured_workloads() {
  return {{"h256 l4 8x256", 256, 4, 4096, std::vector<std::size_t>(8, 256)},
          {"h512 l8 4x256", 512, 8, 8192, std::vector<std::size_t>(4, 256)},
          {"h512 l8 2x1024", 512, 8, 8192, std::vector<std::size_t>(2, 1024)},
          {"h256 l4 mixed", 256, 4, 4096, {32, 1024, 64, 200, 512, 48, 96, 320, 40, 128}}};
}

workload workload_named(const std::string& name) {
  std::vector<workload> known = measured_workloads();
  known.push_back({"tiny", 128, 2, 256, {24, 24}});
  known.push_back({"tiny mixed", 128, 2, 256, {5, 24, 1, 13}});
  const auto found = std::ranges::find(known, name, &workload::name);
  if (found != known.end()) return *found;
  std::string names;
  for (const workload& each : known)
    names += (names.empty() ? "'" : ", '") + each.name + "'";
  give_up("there is no workload '" + name + "'; there are " + names);
}

void write_work(const workload& work, const std::string& folder) {
  const model_config model = model_of(work);
  test::model_memory memory(model);
  test::fill_randomly(memory, model, 1);
  memory_reader weights(memory, 0);
  storage::hf_export target;
  target.directory = model_folder(folder);
  target.config = model;
  target.type = dtype::f32;
  need(storage::write_hf_directory(target, gpu::parameter_layout(model), weights));
  json::array batch;
  for (const datum& data : test::whole_batch(model, work.lengths, 1))
    batch.push_back(
        json::object{{"tokens", to_json(data.tokens)}, {"targets", to_json(data.target_tokens)}});
  const json::object adam{{"learning_rate", 1e-4}, {"beta1", 0.9},         {"beta2", 0.95},
                          {"eps", 1e-8},           {"weight_decay", 0.01}, {"grad_clip_norm", 1.0}};
  std::ofstream file(work_file(folder));
  file << json::serialize(json::object{{"batch", batch}, {"adam", adam}});
  if (!file.flush()) give_up("cannot write " + work_file(folder));
}

work_files::work_files(const std::string& folder)
    : files_(need(storage::open_hf_directory(model_folder(folder)))),
      layout_(gpu::parameter_layout(files_->config())) {
  need(files_->check_layout(layout_));
  std::ifstream file(work_file(folder));
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  json::error_code problem;
  const json::value work = json::parse(text, problem);
  if (problem) give_up(work_file(folder) + ": " + problem.message());
  for (const json::value& each : work.at("batch").as_array()) {
    datum data;
    data.tokens = numbers<token_id>(each.at("tokens"));
    data.target_tokens = numbers<token_id>(each.at("targets"));
    data.weights.assign(data.target_tokens.size(), 1.0F);
    batch_.push_back(std::move(data));
  }
  const json::value& adam = work.at("adam");
  adam_.learning_rate = adam.at("learning_rate").to_number<double>();
  adam_.beta1 = adam.at("beta1").to_number<double>();
  adam_.beta2 = adam.at("beta2").to_number<double>();
  adam_.eps = adam.at("eps").to_number<double>();
  adam_.weight_decay = adam.at("weight_decay").to_number<double>();
  adam_.grad_clip_norm = adam.at("grad_clip_norm").to_number<double>();
}

result<void> work_files::read(gpu::state_part part, const gpu::parameter_slice& slice,
                              std::span<float> out) {
  if (part != gpu::state_part::weights)
    return fail(errc::internal, "a model directory has no moments");
  return files_->read(layout_.at(slice.parameter).name, slice.begin, out);
}

}  // namespace troupe::bench
