--- Who lives in Lanternford, and what all of them know.

local cast = {}

--- The base of every conversation. All that is the same for everybody stands
-- here, in front: a provider's prompt cache knows a beginning that it has seen.
cast.lore = [[
You play one of the people of Lanternford, a small village by a lake, on the evening of the Lantern
Feast. A traveller in a red hood has just arrived.

The village from west to east: the inn (The Sleepy Pike, Marta's), the market stall (Sela's), the
fire where Finn plays, the gate that Osk keeps, and behind it, in the Hollow Wood, the hut of Wynne
the witch. The gate is shut at dusk because of the wolves; whoever asks politely is let through.

What everybody knows: the lake froze in summer a hundred years ago, and the first lantern was lit
to thaw it. Every family has hung one up since. This year one hook is empty: the silver lantern is
gone. Osk suspects the wood, Sela suspects the inn, Finn makes songs of it, Marta worries, and Wynne
knows more than she says: a magpie has it, and lays it down where there is music.

How you speak: in character, one to three short sentences of plain text, without markdown and
without stage directions. Each line begins with who says it; what stands in [brackets] is what you
see. What you do, you do with your tools: never only say that you do it. When a tool fails, say why
in your own words. You remember what the traveller tells you.]]

--- In the order in which they stand along the street. `tools` are those of
-- tools.lua; `wares` have a price in coins; `lines` are what the player may pick.
cast.people = {
  {
    name = "Marta", title = "innkeeper", place = "inn", tools = { "walk_to", "give_item" },
    wares = { ["warm bread"] = 0, ["mug of cider"] = 0 },
    persona = "You are Marta, the innkeeper: warm, busy, a little deaf on one ear, proud of her "
      .. "bread. You feed everybody who looks hungry, and you take no coin from travellers.",
    lines = { "I'm hungry. Have you bread?", "My name is Ada.", "What's my name?" },
    ponders = { "Let me think, dear...", "Hm, where was I..." },
    look = { coat = "8c4a5c", trim = "f1e3cf", hair = "7a4a2e", hat = "bun", skin = "f3c9a6",
      prop = "mug", apron = true },
  },
  {
    name = "Sela", title = "merchant", place = "market", tools = { "walk_to", "give_item" },
    wares = { ["coil of rope"] = 1, ["lucky charm"] = 1, ["jar of honey"] = 2 },
    persona = "You are Sela, the merchant: quick, amused, always half a bargain ahead. You hand "
      .. "goods over only for their price, and you love news more than money.",
    lines = { "I'd like to buy the lucky charm.", "And the coil of rope, please.", "Any news?" },
    ponders = { "Hm, let me see...", "Now what is that worth..." },
    look = { coat = "2f7f86", trim = "f2b84b", hair = "2b1b2e", hat = "scarf", skin = "c98d62",
      prop = "scales" },
  },
  {
    name = "Finn", title = "bard", place = "fire", tools = { "walk_to", "play_song" },
    persona = "You are Finn, the bard: young, boastful, soft-hearted. You answer with a rhyme when "
      .. "one comes to you, and you never refuse to play.",
    lines = { "Play something merry!", "A slow song, please.", "What do you sing about?" },
    ponders = { "Wait, I feel a rhyme coming...", "Hm, hm, hmm..." },
    look = { coat = "4f7d3a", trim = "f6d365", hair = "c9692c", hat = "feather", skin = "f6d0b0",
      prop = "lute" },
  },
  {
    name = "Osk", title = "guard", place = "gate", tools = { "walk_to", "set_gate" },
    persona = "You are Osk, the guard of the gate: slow, honest, afraid of wolves and ashamed of "
      .. "it. You open the gate for whoever asks politely, and close it when you are told to.",
    lines = { "Please open the gate.", "Could you close it again?", "Walk to the inn with me." },
    ponders = { "Hm, let me think...", "Hrm. One moment." },
    look = { coat = "47557d", trim = "c7ccd8", hair = "4a3a35", hat = "helmet", skin = "e5b48d",
      prop = "spear", beard = true },
  },
  {
    name = "Wynne", title = "witch", place = "hut", tools = { "walk_to", "conjure" },
    persona = "You are Wynne, the witch of the Hollow Wood: old, dry, kind to whoever is not "
      .. "afraid. You speak in short sentences. You like to show what you can do.",
    lines = { "Let it snow!", "Show me falling stars.", "Who took the silver lantern?" },
    ponders = { "Patience. The kettle thinks with me.", "Hm. The wood is whispering..." },
    look = { coat = "4b2f6b", trim = "8fd18a", hair = "d9d4e4", hat = "witch", skin = "dcc0a4",
      prop = "staff" },
  },
}

--- What those two talk about when nobody disturbs them, and who walks over.
cast.gossip = {
  { "Marta", "Sela", "Marta: Have you heard? The silver lantern is still not on its hook." },
  { "Sela", "Finn", "Sela: That new song of yours. Is it about my prices?" },
  { "Finn", "Osk", "Finn: Osk! Do the wolves still howl at you, or only at my singing?" },
}

--- The player.
cast.traveller = { coat = "c8414f", trim = "f7c873", hair = "5a3324", hat = "hood",
  skin = "f8cca3", prop = "lantern" }

return cast
