// Every kernel for a GPU against its reference, and its time. One line per kernel; without a GPU it
// says that nothing was checked.
//
// Exit: 0 when all pass or there is no GPU, 1 when one differs or fails.

#include <cstdio>
#include <string>
#include <vector>

#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/device_count.hpp"
#include "gpu/kernels/token_logprobs.hpp"

namespace {

using namespace troupe;
using reports = result<std::vector<gpu::kernels::kernel_report>>;

int print(const reports& checked) {
  if (!checked) {
    std::printf("%s\n", to_string(checked.error()).c_str());
    return 1;
  }
  int failures = 0;
  for (const auto& report : *checked) {
    std::printf("%-32s error %.1e of %.0e  %9.1f us  %7.0f GB/s  %s\n", report.name.c_str(),
                report.worst_error, report.tolerance, report.microseconds,
                report.gigabytes_per_second, report.passes() ? "passes" : "FAILS");
    failures += report.passes() ? 0 : 1;
  }
  return failures;
}

}  // namespace

int main() {
  if (gpu::kernels::num_devices() == 0) {
    std::printf("skipped: this machine has no GPU, no kernel was checked\n");
    return 0;
  }
  int failures = 0;
  // A large vocabulary, and one that is no multiple of anything.
  failures += print(gpu::kernels::check_token_logprobs(2048, 151'936));
  failures += print(gpu::kernels::check_token_logprobs(37, 1009));
  failures += print(gpu::kernels::check_add_rms_norm(16'384, 4096));
  failures += print(gpu::kernels::check_add_rms_norm(131, 515));
  return failures == 0 ? 0 : 1;
}
