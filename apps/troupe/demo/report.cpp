#include "apps/troupe/demo/report.hpp"

#include <algorithm>
#include <sstream>

#include "apps/support/text_file.hpp"

namespace troupe::apps {
namespace {

constexpr double chart_width = 640;
constexpr double chart_height = 200;

boost::json::array to_array(const std::vector<double>& values) {
  boost::json::array out;
  for (const double value : values)
    out.push_back(value);
  return out;
}

/// One curve as inline SVG, from 0 to its largest value.
std::string chart(const std::string& title, const std::vector<double>& values) {
  std::ostringstream out;
  double top = 1e-9;
  for (const double value : values)
    top = std::max(top, value);
  out << "<figure><figcaption>" << title << "</figcaption><svg viewBox=\"0 0 " << chart_width << ' '
      << chart_height << "\" width=\"" << chart_width
      << "\"><polyline fill=\"none\" stroke=\"#2563eb\" stroke-width=\"2\" points=\"";
  const double last = values.size() > 1 ? static_cast<double>(values.size() - 1) : 1.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    out << static_cast<double>(i) / last * chart_width << ','
        << (1.0 - values[i] / top) * (chart_height - 4) + 2 << ' ';
  }
  out << "\"/></svg><p>0 to " << top << ", " << values.size() << " steps</p></figure>";
  return out.str();
}

}  // namespace

boost::json::object to_object(const demo_report& report) {
  return {{"seed", report.seed},
          {"accuracy_before", report.accuracy_before},
          {"accuracy_after_sft", report.accuracy_after_sft},
          {"accuracy_after_rl", report.accuracy_after_rl},
          {"base_bytes", report.base_bytes},
          {"delta_bytes", report.delta_bytes},
          {"num_deltas", report.num_deltas},
          {"sync_pause_ms", report.sync_pause_ms},
          {"sync_total_ms", report.sync_total_ms},
          {"recovered", report.recovered},
          {"bit_exact", report.bit_exact},
          {"recovery_s", report.recovery_s},
          {"ops_replayed", report.ops_replayed},
          {"weights_digest", report.weights_digest},
          {"wall_s", report.wall_s},
          {"losses", to_array(report.losses)},
          {"rewards", to_array(report.rewards)}};
}

std::string to_html(const demo_report& report) {
  std::ostringstream out;
  out << "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Troupe demo</title>"
      << "<style>body{font:16px sans-serif;max-width:44rem;margin:2rem auto}svg{background:"
      << "#f4f4f5}td{padding:.2rem 1rem .2rem 0}</style><h1>Troupe demo</h1>"
      << chart("SFT loss", report.losses) << chart("GRPO reward", report.rewards) << "<table>";
  for (const auto& entry : to_object(report)) {
    if (entry.value().is_array()) continue;
    out << "<tr><td>" << std::string(entry.key().data(), entry.key().size()) << "</td><td>"
        << boost::json::serialize(entry.value()) << "</td></tr>";
  }
  out << "</table></html>\n";
  return out.str();
}

result<void> write_report(const demo_report& report, const std::string& folder) {
  const std::string json = boost::json::serialize(to_object(report)) + "\n";
  if (auto ok = replace_text_file(folder + "/report.json", json); !ok) return ok;
  return replace_text_file(folder + "/report.html", to_html(report));
}

}  // namespace troupe::apps
