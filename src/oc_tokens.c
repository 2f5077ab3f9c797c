#include "oc_tokens.h"

#include "oc_tokens_table.h"

#define REPLACEMENT 0xFFFDu
/* Digits have symbols of their own, beyond all characters. */
#define DIGIT_SYMBOL 0x200000u
#define CASE_SHIFT 22

/* The row of block_cost: finer where alphabets are, coarser for the rest. */
static unsigned block_of(uint32_t point) {
  if(point < 0x3000)
    return point >> 6;
  if(point < 0x10000)
    return 192 + ((point - 0x3000) >> 10);
  return 244 + (point >> 12 & 7);
}

/*
 * Whether it is a capital whose small letter comes 32 later: of Latin, Greek
 * and Cyrillic the most frequent ones. Others simply are characters.
 */
static int is_capital(uint32_t point) {
  if(point < 0x80)
    return point - 'A' < 26;
  return (point >= 0xC0 && point <= 0xDE && point != 0xD7)
         || (point >= 0x391 && point <= 0x3A9)
         || (point >= 0x410 && point <= 0x42F);
}

static uint32_t mix(uint32_t hash, uint32_t symbol) {
  return (hash ^ symbol) * 0x9E3779B1u;
}

/*
 * Counts one character. `features` in bench/tokens/tune.mjs does the same:
 * the table means nothing when the two differ.
 *
 * Tokenizers cut numbers into groups of three digits whatever the digits
 * are, so that a digit is known by its place. A capital at the start of a
 * word costs about the same whatever the letter, and leaves the rest of the
 * word what it is in small letters: hence the folding.
 */
static void count_point(oc_tokens *tokens, uint32_t point) {
  uint32_t symbol = point;
  unsigned upper = 0;
  uint32_t pair;
  uint32_t triple;
  int cost;

  if(point - '0' < 10) {
    symbol = DIGIT_SYMBOL + tokens->digits;
    tokens->digits = tokens->digits == 2 ? 0 : tokens->digits + 1;
  }
  else {
    tokens->digits = 0;
    if(is_capital(point)) {
      symbol = point + 32;
      upper = tokens->upper ? 2 : 1;
    }
  }
  tokens->upper = (unsigned char)upper;
  pair = mix(mix(0x12345u, symbol + (upper << CASE_SHIFT)), tokens->before);
  triple = mix(pair, tokens->before2);
  cost = block_cost[block_of(point)]
         + pair_cost[pair >> (32 - TOKENS_BITS)]
         + triple_cost[triple >> (32 - TOKENS_BITS)];
  if(cost > 0)
    tokens->cost += cost;
  tokens->before2 = tokens->before;
  tokens->before = symbol;
}

/* A character that was cut and does not go on. */
static void end_character(oc_tokens *tokens) {
  if(tokens->missing) {
    tokens->missing = 0;
    count_point(tokens, REPLACEMENT);
  }
}

/* The same for an escape, and for a surrogate that stays alone. */
static void end_escape(oc_tokens *tokens) {
  if(tokens->high) {
    tokens->high = 0;
    count_point(tokens, REPLACEMENT);
  }
  if(tokens->escape) {
    tokens->escape = 0;
    count_point(tokens, REPLACEMENT);
  }
}

/* One byte of UTF-8, in a character that was cut or that begins here. */
static void count_byte(oc_tokens *tokens, unsigned char byte) {
  if(tokens->missing) {
    if((byte & 0xC0) == 0x80) {
      tokens->point = tokens->point << 6 | (byte & 0x3F);
      if(--tokens->missing)
        return;
      if(tokens->point < tokens->least || tokens->point > 0x10FFFF
         || (tokens->point & 0xFFFFF800u) == 0xD800)
        tokens->point = REPLACEMENT;
      count_point(tokens, tokens->point);
      return;
    }
    end_character(tokens);
  }
  if(byte < 0x80)
    count_point(tokens, byte);
  else if(byte < 0xC2 || byte > 0xF4)
    count_point(tokens, REPLACEMENT);
  else if(byte < 0xE0) {
    tokens->point = byte & 0x1F;
    tokens->missing = 1;
    tokens->least = 0x80;
  }
  else if(byte < 0xF0) {
    tokens->point = byte & 0x0F;
    tokens->missing = 2;
    tokens->least = 0x800;
  }
  else {
    tokens->point = byte & 0x07;
    tokens->missing = 3;
    tokens->least = 0x10000;
  }
}

/* A whole \uXXXX. The halves of a pair may come in different pieces. */
static void count_unit(oc_tokens *tokens, uint32_t unit) {
  if(tokens->high && (unit & 0xFC00) == 0xDC00) {
    uint32_t point = 0x10000 + ((tokens->high & 0x3FF) << 10) + (unit & 0x3FF);

    tokens->high = 0;
    count_point(tokens, point);
    return;
  }
  end_escape(tokens);
  if((unit & 0xFC00) == 0xD800)
    tokens->high = unit;
  else
    count_point(tokens, (unit & 0xFC00) == 0xDC00 ? REPLACEMENT : unit);
}

static int hex_digit(unsigned char byte) {
  if(byte >= '0' && byte <= '9')
    return byte - '0';
  byte |= 0x20;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/*
 * One byte behind a backslash. `escape` is 1 right behind it, then 2 to 5:
 * one more than the digits seen of \uXXXX. The reader lets no bad escape
 * through; should one come, it counts like U+FFFD.
 */
static void count_escape(oc_tokens *tokens, unsigned char byte) {
  int digit;

  if(tokens->escape == 1) {
    if(byte == 'u') {
      tokens->escape = 2;
      tokens->unit = 0;
      return;
    }
    tokens->escape = 0;
    end_escape(tokens);
    switch(byte) {
      case 'n': byte = '\n'; break;
      case 't': byte = '\t'; break;
      case 'r': byte = '\r'; break;
      case 'b': byte = '\b'; break;
      case 'f': byte = '\f'; break;
      default: break;
    }
    count_byte(tokens, byte);
    return;
  }
  digit = hex_digit(byte);
  if(digit < 0) {
    end_escape(tokens);
    count_byte(tokens, byte);
    return;
  }
  tokens->unit = tokens->unit << 4 | (uint32_t)digit;
  if(++tokens->escape == 6) {
    tokens->escape = 0;
    count_unit(tokens, tokens->unit);
  }
}

void oc_tokens_init(oc_tokens *tokens) {
  static const oc_tokens empty;

  *tokens = empty;
  /* A text begins like a line. */
  tokens->before = '\n';
  tokens->before2 = '\n';
}

/*
 * Characters that are their own symbols: ASCII but for digits and capitals.
 * Without the backslash and its neighbour, so that two comparisons do.
 */
static int is_simple(unsigned char byte) {
  return byte < 0x80 && (unsigned)byte - '0' >= 10
         && (unsigned)byte - 'A' > '\\' - 'A';
}

/*
 * Counts the simple characters at the beginning, which most texts are made
 * of, as count_point() would, and returns how many they are. No character
 * or escape may be cut.
 */
static size_t count_simple(oc_tokens *tokens, const char *text, size_t len) {
  uint32_t before = tokens->before;
  uint32_t before2 = tokens->before2;
  int64_t total = tokens->cost;
  size_t i;

  for(i = 0; i < len && is_simple((unsigned char)text[i]); i++) {
    uint32_t symbol = (unsigned char)text[i];
    uint32_t pair = mix(mix(0x12345u, symbol), before);
    uint32_t triple = mix(pair, before2);
    int cost = block_cost[symbol >> 6]
               + pair_cost[pair >> (32 - TOKENS_BITS)]
               + triple_cost[triple >> (32 - TOKENS_BITS)];

    /* no jump, which nobody could foretell */
    total += cost > 0 ? cost : 0;
    before2 = before;
    before = symbol;
  }
  if(i) {
    tokens->before = before;
    tokens->before2 = before2;
    tokens->cost = total;
    tokens->upper = 0;
    tokens->digits = 0;
  }
  return i;
}

/*
 * Both work on a copy, which the compiler can keep in registers: bytes read
 * through `text` might otherwise be the state itself.
 */
void oc_tokens_add(oc_tokens *tokens, const char *text, size_t len) {
  oc_tokens state = *tokens;
  size_t i = 0;

  if(!len)
    return;
  state.any = 1;
  end_escape(&state);
  while(i < len) {
    if(!state.missing)
      i += count_simple(&state, text + i, len - i);
    if(i < len)
      count_byte(&state, (unsigned char)text[i++]);
  }
  *tokens = state;
}

void oc_tokens_add_raw(oc_tokens *tokens, oc_slice raw) {
  oc_tokens state = *tokens;
  size_t i = 0;

  if(!raw.len)
    return;
  state.any = 1;
  while(i < raw.len) {
    unsigned char byte;

    if(!state.escape && !state.missing && !state.high)
      i += count_simple(&state, raw.text + i, raw.len - i);
    if(i == raw.len)
      break;
    byte = (unsigned char)raw.text[i++];
    if(state.escape)
      count_escape(&state, byte);
    else if(byte == '\\') {
      end_character(&state);
      state.escape = 1;
    }
    else {
      if(state.high)
        end_escape(&state);
      count_byte(&state, byte);
    }
  }
  *tokens = state;
}

size_t oc_tokens_count(const oc_tokens *tokens) {
  oc_tokens state = *tokens;
  uint64_t count;

  if(!state.any)
    return 0;
  end_character(&state);
  end_escape(&state);
  count = ((uint64_t)state.cost + TOKENS_SCALE / 2) / TOKENS_SCALE;
  if(count < 1)
    return 1;
  return count > SIZE_MAX ? SIZE_MAX : (size_t)count;
}

size_t oc_tokens_text(const char *text, size_t len) {
  oc_tokens tokens;

  oc_tokens_init(&tokens);
  oc_tokens_add(&tokens, text, len);
  return oc_tokens_count(&tokens);
}
