rockspec_format = "3.0"
package = "opperchat"
version = "scm-1"

source = {
  url = "git+file://.",
}

description = {
  summary = "Conversations with language models over the chat-completions API",
  detailed = [[
    opperchat gives a Lua program a conversation with a language model: multi-turn
    history, streaming, tools and trimming, over Opper or any other server of the
    chat-completions API. It never blocks a host that does not ask for it.
  ]],
  license = "MIT",
  labels = { "llm", "http", "async" },
}

-- Linux is tested. macOS, the BSDs, Cygwin and MSYS are POSIX enough by their
-- manuals, were not tested, and need nothing of their own here: LuaRocks itself
-- knows how each of them links a module. Windows without such a layer lacks file
-- locks, poll(2) and pthreads, which the core uses.
supported_platforms = { "unix" }

dependencies = {
  "lua >= 5.1, < 5.5",
  "lua-cjson",
}

-- On macOS, where libcurl's headers are not below /usr:
-- luarocks make CURL_DIR="$(brew --prefix curl)"
external_dependencies = {
  CURL = { header = "curl/curl.h", library = "curl" },
}

test_dependencies = {
  "busted",
  "luasocket",
}

test = {
  type = "command",
  command = "make test",
}

build = {
  type = "builtin",
  modules = {
    ["opperchat.core"] = {
      sources = {
        "src/lbuffer.c",
        "src/lclient.c",
        "src/lconversation.c",
        "src/ldescriptor.c",
        "src/lfolder.c",
        "src/lhistory.c",
        "src/linterrupt.c",
        "src/ljournal.c",
        "src/ljson.c",
        "src/lmessage.c",
        "src/lopperchat.c",
        "src/loutcome.c",
        "src/lpin.c",
        "src/lrequest.c",
        "src/lsecret.c",
        "src/lsystem.c",
        "src/lutil.c",
        "src/oc_alloc.c",
        "src/oc_api_error.c",
        "src/oc_base64.c",
        "src/oc_body.c",
        "src/oc_buf.c",
        "src/oc_call.c",
        "src/oc_client.c",
        "src/oc_clock.c",
        "src/oc_curl_error.c",
        "src/oc_curl_memory.c",
        "src/oc_error.c",
        "src/oc_events.c",
        "src/oc_exchange.c",
        "src/oc_exchange_tape.c",
        "src/oc_fields.c",
        "src/oc_file.c",
        "src/oc_history.c",
        "src/oc_journal.c",
        "src/oc_json.c",
        "src/oc_measure.c",
        "src/oc_media.c",
        "src/oc_message.c",
        "src/oc_player.c",
        "src/oc_poller.c",
        "src/oc_random.c",
        "src/oc_recorder.c",
        "src/oc_redact.c",
        "src/oc_reply.c",
        "src/oc_response.c",
        "src/oc_retry.c",
        "src/oc_save.c",
        "src/oc_secret.c",
        "src/oc_setup.c",
        "src/oc_sha256.c",
        "src/oc_sse.c",
        "src/oc_text.c",
        "src/oc_tokens.c",
        "src/oc_tree.c",
        "src/oc_url.c",
      },
      defines = { "_GNU_SOURCE" },
      incdirs = { "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
      libraries = { "curl", "pthread" },
    },
    -- lua/
    ["opperchat.answer"] = "lua/opperchat/answer.lua",
    ["opperchat.client"] = "lua/opperchat/client.lua",
    ["opperchat.command.arguments"] = "lua/opperchat/command/arguments.lua",
    ["opperchat.command.attachments"] = "lua/opperchat/command/attachments.lua",
    ["opperchat.command.chats"] = "lua/opperchat/command/chats.lua",
    ["opperchat.command.commands"] = "lua/opperchat/command/commands.lua",
    ["opperchat.command.help"] = "lua/opperchat/command/help.lua",
    ["opperchat.command"] = "lua/opperchat/command/init.lua",
    ["opperchat.command.interactive"] = "lua/opperchat/command/interactive.lua",
    ["opperchat.command.listing"] = "lua/opperchat/command/listing.lua",
    ["opperchat.command.output"] = "lua/opperchat/command/output.lua",
    ["opperchat.command.parameters"] = "lua/opperchat/command/parameters.lua",
    ["opperchat.command.places"] = "lua/opperchat/command/places.lua",
    ["opperchat.command.reading"] = "lua/opperchat/command/reading.lua",
    ["opperchat.command.safe_text"] = "lua/opperchat/command/safe_text.lua",
    ["opperchat.command.schema_text"] = "lua/opperchat/command/schema_text.lua",
    ["opperchat.command.session"] = "lua/opperchat/command/session.lua",
    ["opperchat.command.spinner"] = "lua/opperchat/command/spinner.lua",
    ["opperchat.command.terminal"] = "lua/opperchat/command/terminal.lua",
    ["opperchat.command.transcript"] = "lua/opperchat/command/transcript.lua",
    ["opperchat.command.usage"] = "lua/opperchat/command/usage.lua",
    ["opperchat.command.waiting"] = "lua/opperchat/command/waiting.lua",
    ["opperchat.compaction"] = "lua/opperchat/compaction.lua",
    ["opperchat.content"] = "lua/opperchat/content.lua",
    ["opperchat.conversation"] = "lua/opperchat/conversation.lua",
    ["opperchat.counter"] = "lua/opperchat/counter.lua",
    ["opperchat.doctor"] = "lua/opperchat/doctor.lua",
    ["opperchat.drafting"] = "lua/opperchat/drafting.lua",
    ["opperchat.driver"] = "lua/opperchat/driver.lua",
    ["opperchat.errors"] = "lua/opperchat/errors.lua",
    ["opperchat.health"] = "lua/opperchat/health.lua",
    ["opperchat.history"] = "lua/opperchat/history.lua",
    ["opperchat.history_mend"] = "lua/opperchat/history_mend.lua",
    ["opperchat.history_repair"] = "lua/opperchat/history_repair.lua",
    ["opperchat.history_rules"] = "lua/opperchat/history_rules.lua",
    opperchat = "lua/opperchat/init.lua",
    ["opperchat.interrupted"] = "lua/opperchat/interrupted.lua",
    ["opperchat.journal"] = "lua/opperchat/journal.lua",
    ["opperchat.json"] = "lua/opperchat/json.lua",
    ["opperchat.keeping"] = "lua/opperchat/keeping.lua",
    ["opperchat.lazy"] = "lua/opperchat/lazy.lua",
    ["opperchat.limits"] = "lua/opperchat/limits.lua",
    ["opperchat.log"] = "lua/opperchat/log.lua",
    ["opperchat.loop.adapter"] = "lua/opperchat/loop/adapter.lua",
    ["opperchat.loop.cqueues"] = "lua/opperchat/loop/cqueues.lua",
    ["opperchat.loop.luv"] = "lua/opperchat/loop/luv.lua",
    ["opperchat.loop.nvim"] = "lua/opperchat/loop/nvim.lua",
    ["opperchat.loop.uv"] = "lua/opperchat/loop/uv.lua",
    ["opperchat.media"] = "lua/opperchat/media.lua",
    ["opperchat.message"] = "lua/opperchat/message.lua",
    ["opperchat.models"] = "lua/opperchat/models.lua",
    ["opperchat.nvim.build"] = "lua/opperchat/nvim/build.lua",
    ["opperchat.nvim.chat"] = "lua/opperchat/nvim/chat.lua",
    ["opperchat.nvim.commands"] = "lua/opperchat/nvim/commands.lua",
    ["opperchat.nvim.config"] = "lua/opperchat/nvim/config.lua",
    ["opperchat.nvim"] = "lua/opperchat/nvim/init.lua",
    ["opperchat.nvim.page"] = "lua/opperchat/nvim/page.lua",
    ["opperchat.nvim.selection"] = "lua/opperchat/nvim/selection.lua",
    ["opperchat.nvim.undo"] = "lua/opperchat/nvim/undo.lua",
    ["opperchat.nvim.window"] = "lua/opperchat/nvim/window.lua",
    ["opperchat.oneshot"] = "lua/opperchat/oneshot.lua",
    ["opperchat.options"] = "lua/opperchat/options.lua",
    ["opperchat.outlook"] = "lua/opperchat/outlook.lua",
    ["opperchat.overflow"] = "lua/opperchat/overflow.lua",
    ["opperchat.policies"] = "lua/opperchat/policies.lua",
    ["opperchat.policy.check"] = "lua/opperchat/policy/check.lua",
    ["opperchat.policy.custom"] = "lua/opperchat/policy/custom.lua",
    ["opperchat.policy.draft"] = "lua/opperchat/policy/draft.lua",
    ["opperchat.policy.fit"] = "lua/opperchat/policy/fit.lua",
    ["opperchat.policy"] = "lua/opperchat/policy/init.lua",
    ["opperchat.policy.keep"] = "lua/opperchat/policy/keep.lua",
    ["opperchat.policy.older"] = "lua/opperchat/policy/older.lua",
    ["opperchat.policy.pipeline"] = "lua/opperchat/policy/pipeline.lua",
    ["opperchat.policy.remember"] = "lua/opperchat/policy/remember.lua",
    ["opperchat.policy.shrink"] = "lua/opperchat/policy/shrink.lua",
    ["opperchat.policy.summarize"] = "lua/opperchat/policy/summarize.lua",
    ["opperchat.rebuild"] = "lua/opperchat/rebuild.lua",
    ["opperchat.reports"] = "lua/opperchat/reports.lua",
    ["opperchat.request"] = "lua/opperchat/request.lua",
    ["opperchat.run"] = "lua/opperchat/run.lua",
    ["opperchat.salvage"] = "lua/opperchat/salvage.lua",
    ["opperchat.schema"] = "lua/opperchat/schema.lua",
    ["opperchat.schema_check"] = "lua/opperchat/schema_check.lua",
    ["opperchat.secret"] = "lua/opperchat/secret.lua",
    ["opperchat.sending"] = "lua/opperchat/sending.lua",
    ["opperchat.steps"] = "lua/opperchat/steps.lua",
    ["opperchat.store"] = "lua/opperchat/store.lua",
    ["opperchat.tokens"] = "lua/opperchat/tokens.lua",
    ["opperchat.tools"] = "lua/opperchat/tools.lua",
    ["opperchat.turn"] = "lua/opperchat/turn.lua",
    ["opperchat.types"] = "lua/opperchat/types.lua",
    ["opperchat.window"] = "lua/opperchat/window.lua",
  },
  install = {
    bin = {
      opperchat = "bin/opperchat",
    },
  },
  copy_directories = { "doc", "docs", "plugin" },
}
