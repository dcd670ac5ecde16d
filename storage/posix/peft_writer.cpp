#include <boost/json.hpp>

#include "storage/json_print.hpp"
#include "storage/peft_directory.hpp"
#include "storage/posix/weights_writer.hpp"

namespace troupe::storage {

namespace json = boost::json;

std::string write_peft_config(const peft_export& target) {
  json::array modules;
  for (const lora_target each : targets_of(target.lora))
    modules.emplace_back(to_string(each));
  const json::value config = {{"base_model_name_or_path", target.base_model},
                              {"bias", "none"},
                              {"fan_in_fan_out", false},
                              {"inference_mode", true},
                              {"init_lora_weights", true},
                              {"lora_alpha", target.lora.alpha},
                              {"lora_dropout", 0.0},
                              {"peft_type", "LORA"},
                              {"r", target.lora.rank},
                              {"target_modules", modules},
                              {"task_type", "CAUSAL_LM"},
                              {"use_dora", false},
                              {"use_rslora", false}};
  return print_json(config);
}

result<void> write_peft_directory(const peft_export& target,
                                  const std::vector<parameter_spec>& layout,
                                  tensor_reader& adapters) {
  auto draft = posix::folder_draft::create(target.directory);
  if (!draft) return fail(draft.error());
  auto written = draft->write_file("adapter_config.json", write_peft_config(target));
  if (!written) return written;
  posix::weights_writer writer(*draft, layout, dtype::f32, adapters);
  written = writer.write({"adapter_model.safetensors", 0, layout.size()});
  if (!written) return written;
  return draft->publish();
}

}  // namespace troupe::storage
