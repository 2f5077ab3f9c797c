--- busted without its start script, which would start a second interpreter:
-- under a sanitizer or valgrind there should be one process.
--
--   lua5.4 spec/support/busted.lua -o spec/support/output.lua spec/json_spec.lua

require "busted.runner"{ standalone = false }
