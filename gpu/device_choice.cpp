#include "gpu/device_choice.hpp"

#include <charconv>
#include <string>

#include "config/limits.hpp"

namespace troupe::gpu {

result<device_choice> parse_device(std::string_view text) {
  const auto refuse = [&] {
    return fail(errc::invalid_argument, "\"" + std::string(text) + "\" names no device", "",
                "write cpu, cuda, auto, cuda:N or auto:N");
  };
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  device_choice choice;
  if (kind == "cuda") {
    choice.kind = device_kind::cuda;
  } else if (kind == "auto") {
    choice.kind = device_kind::any;
  } else if (kind != "cpu" || colon != std::string_view::npos) {
    return refuse();
  }
  if (colon == std::string_view::npos) return choice;
  const std::string_view number = text.substr(colon + 1);
  const auto [end, failure] =
      std::from_chars(number.data(), number.data() + number.size(), choice.gpu);
  if (failure != std::errc{} || end != number.data() + number.size() ||
      choice.gpu >= limits::gpus_max)
    return refuse();
  return choice;
}

result<std::optional<std::uint32_t>> choose_gpu(const device_choice& choice,
                                                std::uint32_t num_gpus) {
  if (choice.kind == device_kind::cpu) return std::nullopt;
  if (choice.gpu < num_gpus) return choice.gpu;
  if (choice.kind == device_kind::any) return std::nullopt;
  return fail(errc::engine_not_built,
              "there is no GPU " + std::to_string(choice.gpu) + ", this process sees " +
                  std::to_string(num_gpus),
              "the machine has none, its driver does not answer, or CUDA_VISIBLE_DEVICES hides it",
              "set device of the trainers to cpu, or start fewer of them");
}

}  // namespace troupe::gpu
