// troupe key create|list|revoke: who may use the gateway of a cluster.

#include "apps/gateway/key_file.hpp"
#include "apps/troupe/commands/all.hpp"

namespace troupe::apps {
namespace {

result<void> create(const command_context& context, const std::string& name) {
  const auto made = gateway::create_key(context.data_folder, name);
  if (!made) return fail(made.error());
  context.answer(made->secret + "\n(shown this once; id " + made->entry.id + ")",
                 {{"id", made->entry.id}, {"name", name}, {"key", made->secret}});
  return {};
}

result<void> list(const command_context& context) {
  const auto keys = gateway::read_keys(context.data_folder);
  if (!keys) return fail(keys.error());
  std::string text = keys->empty() ? "no keys" : "id        state    name";
  boost::json::array all;
  for (const gateway::key_entry& key : *keys) {
    const char* state = key.state == gateway::key_state::active ? "active " : "revoked";
    text += "\n" + key.id + "  " + state + "  " + key.name;
    all.push_back(boost::json::object{{"id", key.id},
                                      {"name", key.name},
                                      {"created_unix_ms", key.created_unix_ms},
                                      {"active", key.state == gateway::key_state::active}});
  }
  context.answer(text, {{"keys", std::move(all)}});
  return {};
}

result<void> revoke(const command_context& context, const std::string& id_or_name) {
  const auto key = gateway::revoke_key(context.data_folder, id_or_name);
  if (!key) return fail(key.error());
  context.answer("key " + key->id + " (" + key->name + ") ends with its next request",
                 {{"id", key->id}, {"revoked", true}});
  return {};
}

}  // namespace

void add_key(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("key", "API keys of the gateway");
  group->require_subcommand(1);
  const auto word = std::make_shared<std::string>("key");
  CLI::App* made = group->add_subcommand("create", "make a key and show it once");
  made->add_option("name", *word, "for people");
  set_action(*made, context, chosen, [&context, word] { return create(context, *word); });
  CLI::App* shown = group->add_subcommand("list", "what keys there are");
  set_action(*shown, context, chosen, [&context] { return list(context); });
  CLI::App* ended = group->add_subcommand("revoke", "end a key");
  ended->add_option("key", *word, "its id or name")->required();
  set_action(*ended, context, chosen, [&context, word] { return revoke(context, *word); });
}

}  // namespace troupe::apps
