// Every kernel for a GPU against its reference, and its time. One line per kernel; without a GPU it
// says that nothing was checked.
//
// Exit: 0 when all pass, 1 when one differs or fails, 77 when there is no GPU.

#include <cstdio>
#include <string>
#include <vector>

#include "gpu/kernels/adamw.hpp"
#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/device_count.hpp"
#include "gpu/kernels/rank_sums.hpp"
#include "gpu/kernels/token_logprobs.hpp"
#include "gpu/kernels/weights_digest.hpp"

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
    std::printf("skipped: no GPU; everything for one was built, nothing of it was run\n");
    return 77;
  }
  int failures = 0;
  // A large vocabulary, and one that is no multiple of anything.
  failures += print(gpu::kernels::check_token_logprobs(2048, 151'936));
  failures += print(gpu::kernels::check_token_logprobs(37, 1009));
  failures += print(gpu::kernels::check_add_rms_norm(16'384, 4096));
  failures += print(gpu::kernels::check_add_rms_norm(131, 515));
  failures += print(gpu::kernels::check_sum_ranks(8, 4'000'037));
  failures += print(gpu::kernels::check_weights_digest(50'000'017));
  failures += print(gpu::kernels::check_adamw(50'000'017));
  return failures == 0 ? 0 : 1;
}
