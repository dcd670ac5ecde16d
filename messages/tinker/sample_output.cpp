#include "messages/tinker/sample_output.hpp"

#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {

std::string encode_sample_output(const sample_reply& reply) {
  tinker_public::SampleResponse out;
  for (const sampled_sequence& sequence : reply.sequences) {
    auto* row = out.add_sequences();
    row->set_stop_reason(sequence.reason == stop_reason::stop ? tinker_public::STOP_REASON_STOP
                                                              : tinker_public::STOP_REASON_LENGTH);
    row->set_tokens(detail::bytes_of(sequence.tokens));
    row->set_logprobs(detail::bytes_of(sequence.logprobs));
  }
  return out.SerializeAsString();
}

}  // namespace troupe::tinker
