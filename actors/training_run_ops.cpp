#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/training_run.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "config/planted_bug.hpp"

namespace troupe::actors {

bool training_run_state::is_current(std::uint64_t incarnation) const {
  return incarnation == record_.incarnation && phase_ == run_phase::ready;
}

void training_run_state::pump() {
  if (phase_ != run_phase::ready || busy_) return;
  if (moving_ && !has_gradients_) return move();
  if (ready_.empty()) return config::failpoint("t0");
  busy_ = true;
  execute(ready_.front());
}

void training_run_state::execute(const op_request& op) {
  if (const auto* load = std::get_if<load_state_op>(&op.body)) return execute_load(op, *load);
  if (const auto* save = std::get_if<save_weights_op>(&op.body)) return execute_publish(op, *save);
  if (const auto ok = logic::check_answer(op.body, model_); !ok) return finish(op, ok.error());
  logic::batch_plan forward_plan;
  if (const auto* backward = std::get_if<backward_op>(&op.body)) {
    const auto known = forward_plans_.find(backward->forward_seq_id);
    if (known == forward_plans_.end()) {
      return finish(op, error{errc::not_found,
                              "forward " + std::to_string(backward->forward_seq_id) +
                                  " keeps nothing for a backward",
                              "it was used already, or an optim_step ended its weights",
                              "run forward with keep_for_backward again"});
    }
    forward_plan = known->second;
  }
  auto work = logic::split(op.body, record_.request.world_size, step_ + 1, forward_plan);
  if (!work) return finish(op, work.error());
  give_work(op, std::move(*work));
}

void training_run_state::execute_load(const op_request& op, const load_state_op& body) {
  ask(
      self_, config_.store, deadlines::store, get_checkpoint_request{body.checkpoint},
      [this, op, body, incarnation = record_.incarnation](const checkpoint_record& record) {
        if (!is_current(incarnation)) return;
        const auto kind = record.manifest.kind;
        if (kind != checkpoint_kind::training && kind != checkpoint_kind::snapshot) {
          return finish(op, error{errc::invalid_argument,
                                  "checkpoint " + record.id.value + " holds sampler weights only",
                                  "", "load one that save_state made"});
        }
        if (record.manifest.model != model_) {
          return finish(op, error{errc::invalid_argument,
                                  "checkpoint " + record.id.value + " is of another model", "",
                                  "load it in a run of the same architecture"});
        }
        if (record.manifest.lora != record_.request.lora) {
          return finish(op, error{errc::invalid_argument,
                                  "checkpoint " + record.id.value + " trains other parameters",
                                  "it was saved with another LoRA configuration, or with none",
                                  "load it in a run with the same LoRA configuration"});
        }
        const auto world = record_.request.world_size;
        give_work(op, {std::vector<shard_body>(world, shard_load_state{record, body.optimizer}),
                       logic::batch_plan(world)});
      },
      [this, op, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) finish(op, e);
      });
}

void training_run_state::execute_publish(const op_request& op, const save_weights_op& body) {
  if (record_.request.lora) return publish_as(op, checkpoint_kind::sampler_adapter);
  if (body.kind == publish_kind::base || !published_)
    return publish_as(op, checkpoint_kind::sampler_base);
  ask(
      self_, config_.store, deadlines::store, plan_publish_request{published_->id},
      [this, op, incarnation = record_.incarnation](const publish_plan& plan) {
        if (!is_current(incarnation)) return;
        publish_as(op, plan.advice == publish_advice::delta ? checkpoint_kind::sampler_delta
                                                            : checkpoint_kind::sampler_base);
      },
      [this, op, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) finish(op, e);
      });
}

void training_run_state::publish_as(const op_request& op, checkpoint_kind kind) {
  publishing_ = kind;
  const auto world = record_.request.world_size;
  give_work(op,
            {std::vector<shard_body>(world, shard_save_weights{kind}), logic::batch_plan(world)});
}

void training_run_state::give_work(const op_request& op, logic::split_op work) {
  const auto* forward = std::get_if<forward_op>(&op.body);
  if (forward != nullptr && forward->keep == retention::keep_for_backward) {
    forward_plans_[op.seq_id] = work.plan;
  }
  dispatched_ = op.seq_id;
  ask(
      self_, group_, deadlines::shard_work + deadlines::control,
      group_work{record_.incarnation, op.seq_id, std::move(work.bodies)},
      [this, op, plan = std::move(work.plan),
       incarnation = record_.incarnation](const group_reply& reply) {
        if (!is_current(incarnation)) return;
        auto merged = logic::merge(reply.ranks, plan, op.seq_id);
        if (!merged) return op_failed(op, merged.error());
        complete(op, *merged);
      },
      [this, op, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) op_failed(op, e);
      });
}

void training_run_state::op_failed(const op_request& op, const error& reason) {
  if (category_of(reason.code) == error_category::user) return finish(op, reason);
  recover(reason);
}

op_output training_run_state::output_of(const op_request& op,
                                        const logic::merged_reply& merged) const {
  if (std::holds_alternative<backward_op>(op.body)) return backward_result{merged.metrics};
  if (std::holds_alternative<optim_step_op>(op.body)) {
    return optim_step_result{step_ + 1, merged.weights, merged.metrics};
  }
  if (std::holds_alternative<load_state_op>(op.body))
    return load_state_result{step_, merged.weights};
  return forward_result{merged.logprobs, merged.metrics, merged.details};
}

void training_run_state::apply_output(const op_request& op, const op_output& output) {
  has_gradients_ = !std::holds_alternative<optim_step_op>(op.body) &&
                   !std::holds_alternative<load_state_op>(op.body) &&
                   (has_gradients_ || logic::changes_state(op.body));
  if (const auto* step = std::get_if<optim_step_result>(&output)) {
    step_ = step->step;
    weights_ = step->weights;
    forward_plans_.clear();
  } else if (const auto* load = std::get_if<load_state_result>(&output)) {
    weights_ = load->weights;
    forward_plans_.clear();
  } else if (const auto* backward = std::get_if<backward_op>(&op.body)) {
    forward_plans_.erase(backward->forward_seq_id);
  }
}

void training_run_state::complete(const op_request& op, const logic::merged_reply& merged) {
  if (std::holds_alternative<save_state_op>(op.body)) {
    return commit_training_checkpoint(op, merged);
  }
  if (std::holds_alternative<save_weights_op>(op.body)) {
    return commit_sampler_checkpoint(op, merged);
  }
  op_output output = output_of(op, merged);
  apply_output(op, output);
  finish(op, op_reply{op.seq_id, std::move(output)});
}

checkpoint_manifest training_run_state::manifest(checkpoint_kind kind, const std::string& label,
                                                 const captured_at& at,
                                                 const logic::merged_reply& merged) const {
  checkpoint_manifest out;
  out.run = record_.run;
  out.kind = kind;
  out.name = label;
  out.step = at.step;
  out.seq_id = at.seq_id;
  out.model = model_;
  out.model_directory = record_.request.model.directory;
  out.files = merged.files;
  out.state = merged.weights;
  out.optimizer_steps =
      static_cast<std::uint64_t>(logic::metric(merged.metrics, "optimizer_steps:max"));
  out.created_unix_ms = unix_time_ms();
  const bool is_training = kind == checkpoint_kind::training || kind == checkpoint_kind::snapshot;
  if (is_training || kind == checkpoint_kind::sampler_adapter) out.lora = record_.request.lora;
  return out;
}

void training_run_state::commit_training_checkpoint(const op_request& op,
                                                    const logic::merged_reply& merged) {
  const auto& body = std::get<save_state_op>(op.body);
  auto record = manifest(checkpoint_kind::training, body.name, {op.seq_id, step_, {}, 0}, merged);
  record.parent = last_checkpoint_;
  ask(
      self_, config_.store, deadlines::store, commit_checkpoint_request{std::move(record)},
      [this, op, incarnation = record_.incarnation](const checkpoint_record& committed) {
        if (!is_current(incarnation)) return;
        last_checkpoint_ = committed.id;
        finish(op, op_reply{op.seq_id, checkpoint_result{committed.id, step_,
                                                         total_bytes(committed.manifest), false}});
      },
      [this, op, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) finish(op, e);
      });
}

void training_run_state::commit_sampler_checkpoint(const op_request& op,
                                                   const logic::merged_reply& merged) {
  const auto& body = std::get<save_weights_op>(op.body);
  const bool is_delta = publishing_ == checkpoint_kind::sampler_delta;
  if (is_delta && merged.published_before != published_->manifest.state)
    return recover({errc::wrong_base, "the ranks made a delta against another state than published",
                    "a rank missed that the last one was committed", ""});
  auto record = manifest(publishing_, body.name, {op.seq_id, step_, {}, 0}, merged);
  record.state = merged.published;
  record.probe_logprobs = merged.probe_logprobs;
  if (publishing_ == checkpoint_kind::sampler_adapter)
    record.parent_state = merged.published_before;
  if (is_delta) {
    record.parent = published_->id;
    record.base = published_->manifest.base.empty() ? published_->id : published_->manifest.base;
    record.depth = published_->manifest.depth + 1;
    record.parent_state = published_->manifest.state;
  } else if (published_) {
    record.parent = published_->id;
  }
  ask(
      self_, config_.store, deadlines::store, commit_checkpoint_request{std::move(record)},
      [this, op, incarnation = record_.incarnation](const checkpoint_record& committed) {
        if (is_current(incarnation)) confirm_published(op, committed);
      },
      [this, op, incarnation = record_.incarnation](const error& e) {
        if (is_current(incarnation)) finish(op, e);
      });
}

void training_run_state::confirm_published(const op_request& op, const checkpoint_record& record) {
  published_ = record;
  record_.published = record.id;
  ask(
      self_, config_.store, deadlines::store, put_run_request{record_},
      [this, op, record, incarnation = record_.incarnation](const done&) {
        if (!is_current(incarnation)) return;
        const auto world = record_.request.world_size;
        ask(
            self_, group_, deadlines::shard_work,
            group_work{record_.incarnation, op.seq_id,
                       std::vector<shard_body>(world, shard_published{record.id})},
            [this, op, record, incarnation](const group_reply&) {
              if (!is_current(incarnation)) return;
              const bool is_delta = record.manifest.kind == checkpoint_kind::sampler_delta;
              finish(op, op_reply{op.seq_id,
                                  checkpoint_result{record.id, step_, total_bytes(record.manifest),
                                                    is_delta}});
            },
            [this, op, incarnation](const error& e) {
              if (is_current(incarnation)) op_failed(op, e);
            });
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::finish(const op_request& op, std::variant<op_reply, error> outcome) {
  dispatched_ = 0;
  config::failpoint("t8", op.seq_id);
  auto shared = std::make_shared<std::variant<op_reply, error>>(std::move(outcome));
  if (config::is_planted(config::bug::answer_before_commit)) finished(op, *shared);
  ask(
      self_, config_.store, deadlines::store,
      finish_op_request{record_.run, op.seq_id, step_, weights_, *shared},
      [this, op, shared, step = step_, weights = weights_](const done&) {
        if (sequencer_.outcome(op.seq_id) != nullptr) return;
        config::failpoint("t9", op.seq_id);
        committed_step_ = step;
        committed_weights_ = weights;
        finished(op, *shared);
      },
      [this](const error& e) { stop(e); });
}

void training_run_state::finished(const op_request& op,
                                  const std::variant<op_reply, error>& outcome) {
  committed_seq_id_ = op.seq_id;
  const bool has_changed =
      std::holds_alternative<op_reply>(outcome) && logic::changes_state(op.body);
  if (has_changed) changed_seq_id_ = op.seq_id;
  const bool is_done = std::holds_alternative<op_reply>(outcome);
  if (is_done && !op.cursor.empty()) cursor_ = op.cursor;
  sequencer_.finish(op.seq_id, outcome);
  if (!ready_.empty() && ready_.front().seq_id == op.seq_id) ready_.pop_front();
  for (auto& promise : waiting_[op.seq_id]) {
    if (const auto* reply = std::get_if<op_reply>(&outcome)) {
      promise.deliver(*reply);
    } else {
      promise.deliver(to_caf(std::get<error>(outcome)));
    }
  }
  waiting_.erase(op.seq_id);
  config::failpoint("t10", op.seq_id);
  busy_ = false;
  tell(self_, config_.manager, run_changed{info()});
  const bool stepped =
      std::holds_alternative<optim_step_op>(op.body) && std::holds_alternative<op_reply>(outcome);
  if (stepped) snapshot_if_due();
  pump();
}

}  // namespace troupe::actors
