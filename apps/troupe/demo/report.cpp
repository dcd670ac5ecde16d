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

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out.precision(digits);
  out << std::fixed << value;
  return out.str();
}

/// One curve as inline SVG on a labelled grid, from 0 to `top`.
std::string chart(const std::string& title, const std::vector<double>& values, double top) {
  std::ostringstream out;
  out << "<figure><figcaption>" << title << "</figcaption><svg viewBox=\"-44 -8 "
      << chart_width + 52 << ' ' << chart_height + 32 << "\" role=\"img\">";
  for (int line = 0; line <= 4; ++line) {
    const double y = chart_height * (4 - line) / 4;
    out << "<line x1=\"0\" x2=\"" << chart_width << "\" y1=\"" << y << "\" y2=\"" << y
        << "\"/><text x=\"-6\" y=\"" << y + 4 << "\" text-anchor=\"end\">"
        << fixed(top * line / 4, 2) << "</text>";
  }
  const double last = values.size() > 1 ? static_cast<double>(values.size() - 1) : 1.0;
  out << "<polyline points=\"";
  for (std::size_t i = 0; i < values.size(); ++i) {
    out << static_cast<double>(i) / last * chart_width << ','
        << (1.0 - values[i] / top) * chart_height << ' ';
  }
  out << "\"/><text x=\"0\" y=\"" << chart_height + 18 << "\">step 1</text><text x=\""
      << chart_width << "\" y=\"" << chart_height + 18 << "\" text-anchor=\"end\">step "
      << values.size() << "</text></svg></figure>";
  return out.str();
}

std::string card(const std::string& value, const std::string& label) {
  return "<div><b>" + value + "</b>" + label + "</div>";
}

std::string cards(const demo_report& report) {
  const auto percent = [](double share) { return fixed(100 * share, 1) + " %"; };
  std::string out = "<section>";
  out += card(percent(report.accuracy_before), "accuracy of the untrained model");
  out += card(percent(report.accuracy_after_sft), "after fine-tuning");
  out += card(percent(report.accuracy_after_rl), "after reinforcement learning");
  out += card(fixed(static_cast<double>(report.base_bytes) / 1e6, 2) + " MB", "base checkpoint");
  out += card(fixed(static_cast<double>(report.delta_bytes) / 1e6, 2) + " MB",
              "mean of " + std::to_string(report.num_deltas) + " deltas");
  out += card(fixed(report.sync_pause_ms, 1) + " ms", "longest pause of serving at a sync");
  if (report.recovered) {
    out += card(fixed(report.recovery_s, 2) + " s",
                "from the kill to ready, " + std::to_string(report.ops_replayed) +
                    " operations replayed, " + (report.bit_exact ? "bit-exact" : "NOT bit-exact"));
  }
  out += card(fixed(report.wall_s, 0) + " s", "in all, seed " + std::to_string(report.seed));
  return out + "</section>";
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
  const double loss_top =
      report.losses.empty() ? 1.0 : *std::max_element(report.losses.begin(), report.losses.end());
  std::ostringstream out;
  out << "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
      << "content=\"width=device-width\"><title>Troupe demo</title><style>"
      << "body{font:16px system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;"
      << "color:#18181b}section{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,"
      << "1fr));gap:.75rem}section div{background:#f4f4f5;border-radius:.5rem;padding:.75rem;"
      << "font-size:.85rem}section b{display:block;font-size:1.4rem}figure{margin:2rem 0 0}"
      << "figcaption{font-weight:600}line{stroke:#e4e4e7}text{font-size:11px;fill:#71717a}"
      << "polyline{fill:none;stroke:#2563eb;stroke-width:2}code{font-size:.85rem}</style>"
      << "<h1>Troupe demo</h1>" << cards(report)
      << chart("Loss of supervised fine-tuning, nats per answer token", report.losses,
               std::max(loss_top, 1e-9))
      << chart("Mean reward of reinforcement learning, share of right answers", report.rewards, 1.0)
      << "<p>Digest of the final weights: <code>" << report.weights_digest
      << "</code>. The same seed gives the same digest, with and without the kill.</p></html>\n";
  return out.str();
}

result<void> write_report(const demo_report& report, const std::string& folder) {
  const std::string json = boost::json::serialize(to_object(report)) + "\n";
  if (auto ok = replace_text_file(folder + "/report.json", json); !ok) return ok;
  return replace_text_file(folder + "/report.html", to_html(report));
}

}  // namespace troupe::apps
