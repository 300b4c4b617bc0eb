// jansson: flags and type tests are macros or inline functions over a struct; accessors for those.
#pragma once
#include <jansson.h>
static inline json_type sail_json_type(const json_t *value) { return json_typeof(value); }
static inline size_t sail_json_load_flags(void) {
  return JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
}
static inline void sail_json_release(json_t *value) { json_decref(value); }
static inline size_t sail_json_integers_as_reals(void) { return JSON_DECODE_INT_AS_REAL; }
