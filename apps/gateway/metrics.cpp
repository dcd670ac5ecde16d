#include "apps/gateway/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace troupe::gateway {
namespace {

const prometheus::Histogram::BucketBoundaries bounds{0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60};
const prometheus::Histogram::BucketBoundaries gap_bounds{1e-5, 1e-4, 1e-3, 3e-3,
                                                         0.01, 0.03, 0.1,  1};

}  // namespace

struct metrics::families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& answers = prometheus::BuildCounter()
                                                         .Name("troupe_gateway_answers_total")
                                                         .Help("HTTP answers by route and status")
                                                         .Register(registry);
  prometheus::Family<prometheus::Histogram>& times =
      prometheus::BuildHistogram()
          .Name("troupe_gateway_answer_seconds")
          .Help("From a whole request to its answer; polls wait for results")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& ops =
      prometheus::BuildHistogram()
          .Name("troupe_gateway_op_seconds")
          .Help("From the arrival of a model's operation to its result, by kind")
          .Register(registry);
  prometheus::Family<prometheus::Counter>& tokens = prometheus::BuildCounter()
                                                        .Name("troupe_gateway_tokens_total")
                                                        .Help("Trained, prompt and sampled tokens")
                                                        .Register(registry);
  prometheus::Histogram& pauses = prometheus::BuildHistogram()
                                      .Name("troupe_gateway_sync_pause_seconds")
                                      .Help("How long decoding stood still for new weights")
                                      .Register(registry)
                                      .Add({}, bounds);
  prometheus::Histogram& gaps = prometheus::BuildHistogram()
                                    .Name("troupe_gateway_sync_logprob_gap")
                                    .Help("Mean distance of trainer's and sampler's logprobs")
                                    .Register(registry)
                                    .Add({}, gap_bounds);
  prometheus::Family<prometheus::Gauge>& last_gap =
      prometheus::BuildGauge()
          .Name("troupe_gateway_last_sync_logprob_gap")
          .Help("The same at the last sync, its mean and its largest")
          .Register(registry);
  prometheus::Gauge& heartbeat = prometheus::BuildGauge()
                                     .Name("troupe_gateway_oldest_heartbeat_seconds")
                                     .Help("Since the most silent living session was heard of")
                                     .Register(registry)
                                     .Add({});
  prometheus::Family<prometheus::Gauge>& levels = prometheus::BuildGauge()
                                                      .Name("troupe_gateway_open")
                                                      .Help("What is there or waits, by kind")
                                                      .Register(registry);
};

metrics::metrics() : families_(std::make_unique<families>()) {}

metrics::~metrics() = default;

void metrics::answered(const std::string& route, unsigned status,
                       std::chrono::duration<double> seconds) {
  families_->answers.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
  families_->times.Add({{"route", route}}, bounds).Observe(seconds.count());
}

void metrics::refused(const std::string& route, unsigned status) {
  families_->answers.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
}

void metrics::expect(const std::string& route) {
  families_->answers.Add({{"route", route}, {"status", "200"}});
}

void metrics::op_done(const std::string& kind, std::chrono::duration<double> seconds,
                      std::size_t tokens) {
  families_->ops.Add({{"kind", kind}}, bounds).Observe(seconds.count());
  families_->tokens.Add({{"kind", kind}}).Increment(static_cast<double>(tokens));
}

void metrics::sampled(std::size_t prompt_tokens, std::size_t tokens) {
  families_->tokens.Add({{"kind", "prompt"}}).Increment(static_cast<double>(prompt_tokens));
  families_->tokens.Add({{"kind", "sampled"}}).Increment(static_cast<double>(tokens));
}

void metrics::synced(double pause_seconds, double gap_mean, double gap_max) {
  families_->pauses.Observe(pause_seconds);
  families_->gaps.Observe(gap_mean);
  families_->last_gap.Add({{"of", "mean"}}).Set(gap_mean);
  families_->last_gap.Add({{"of", "max"}}).Set(gap_max);
}

std::string metrics::text(const gauges& now) {
  const auto set = [this](const char* kind, std::size_t value) {
    families_->levels.Add({{"kind", kind}}).Set(static_cast<double>(value));
  };
  set("sessions", now.sessions);
  set("futures", now.open_futures);
  set("polls", now.waiting_polls);
  set("samples", now.samples);
  families_->heartbeat.Set(now.oldest_heartbeat_seconds);
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace troupe::gateway
