// Products of bf16 matrices on AMX tiles (Intel SDM vol. 1, chapter 18). C, as the tile instructions
// exist as C intrinsics only.
#include "tiles.h"

#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILES __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl")))

// A tile is 16 rows of 64 bytes: 16 × 32 bf16, 16 pairs × 16 columns, or 16 × 16 floats.
enum { tileBytes = 1024, tilePairs = 16, tileDepth = 32, side = 16 };
// Columns and depth of the block that is packed at once: 1 MB, about half of a second-level cache.
enum { blockColumns = 512, blockDepth = 1024 };

int sail_tiles_request(void) {
  // ARCH_REQ_XCOMP_PERM for the tiles' state; Linux 5.16 and later.
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

static long up(long value, long multiple) { return (value + multiple - 1) / multiple * multiple; }

size_t sail_tiles_scratch(long rows, long columns, long depth) {
  // Packed columns, a packed panel of rows, sums where the depth is cut.
  return blockColumns * blockDepth * 2 + 2 * side * blockDepth * 2 +
         (depth > blockDepth ? up(rows > columns ? rows : columns, 32) * blockColumns * 4 : 0) +
         4 * tileBytes;
}

TILES static inline void transpose(__m512i r[16]) {
  __m512i t[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// An operand: lines (rows of the left, columns of the right one) with the depth along them, or the
// depth outside.
typedef struct {
  const uint16_t *base;
  long lines, depth;
  int depthOutside;
} Operand;

// Packs 16 lines × 32 of the depth; what is beyond the operand is zero. `pairsOutside`: as a right
// tile has it.
TILES static void packEdge(
    const Operand *o, long line, long depth, int pairsOutside, uint16_t *to) {
  __m512i r[16];
  if (o->depthOutside) {
    long count = o->lines - line;
    __mmask16 mask = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
    for (int i = 0; i < 16; i++) {
      long d = depth + 2 * i;
      const uint16_t *p = o->base + d * o->lines + line;
      __m256i first = d < o->depth ? _mm256_maskz_loadu_epi16(mask, p) : _mm256_setzero_si256();
      __m256i second = d + 1 < o->depth ? _mm256_maskz_loadu_epi16(mask, p + o->lines)
                                        : _mm256_setzero_si256();
      r[i] = _mm512_or_si512(
          _mm512_cvtepu16_epi32(first), _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
    }
  } else {
    long count = o->depth - depth;
    __mmask32 mask = count >= 32 ? 0xffffffffu : (1u << count) - 1;
    for (int i = 0; i < 16; i++)
      r[i] = line + i < o->lines
                 ? _mm512_maskz_loadu_epi16(mask, o->base + (line + i) * o->depth + depth)
                 : _mm512_setzero_si512();
  }
  if (o->depthOutside != pairsOutside) transpose(r);
  for (int i = 0; i < 16; i++) _mm512_store_si512(to + 32 * i, r[i]);
}

// Two rows of 16 numbers as 16 pairs.
TILES static inline __m512i pairs(const uint16_t *first, const uint16_t *second) {
  return _mm512_or_si512(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)first)),
      _mm512_slli_epi32(
          _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)second)), 16));
}

TILES static inline void pack(
    const Operand *o, long line, long depth, int pairsOutside, uint16_t *to) {
  if (line + 16 > o->lines || depth + 32 > o->depth) {
    packEdge(o, line, depth, pairsOutside, to);
    return;
  }
  __m512i r[16];
  if (o->depthOutside) {
    const uint16_t *p = o->base + depth * o->lines + line;
    const long step = o->lines;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = pairs(p + 2 * i * step, p + (2 * i + 1) * step);
  } else {
    const uint16_t *p = o->base + line * o->depth + depth;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(p + i * o->depth);
  }
  if (o->depthOutside != pairsOutside) transpose(r);
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i++) _mm512_store_si512(to + 32 * i, r[i]);
}

// Stores a tile of sums (16 × 16) into C, as it is or transposed.
TILES static inline void store(
    const sail_tile_product *p, const float *tile, long row, long column, int isTransposed) {
  __m512i r[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(tile + 16 * i);
  if (isTransposed) {
    transpose(r);
    long swap = row;
    row = column;
    column = swap;
  }
  long count = p->columns - column;
  if (count >= 16 && row + 16 <= p->rows && !p->roundsResult) {
    float *c = (float *)p->c + row * p->columns + column;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) {
      __m512 sum = _mm512_castsi512_ps(r[i]);
      if (p->accumulates) sum = _mm512_add_ps(_mm512_loadu_ps(c + i * p->columns), sum);
      _mm512_storeu_ps(c + i * p->columns, sum);
    }
    return;
  }
  __mmask16 mask = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
  for (int i = 0; i < 16 && row + i < p->rows; i++) {
    long place = (row + i) * p->columns + column;
    __m512 sum = _mm512_castsi512_ps(r[i]);
    if (p->roundsResult) {
      // To nearest, ties to even; a NaN stays one.
      __m512i bits = r[i];
      __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
      __m512i rounded = _mm512_srli_epi32(
          _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
      __mmask16 isNaN = _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q);
      rounded = _mm512_mask_or_epi32(
          rounded, isNaN, _mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
      _mm256_mask_storeu_epi16((uint16_t *)p->c + place, mask, _mm512_cvtepi32_epi16(rounded));
      continue;
    }
    float *c = (float *)p->c + place;
    if (p->accumulates) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), sum);
    _mm512_mask_storeu_ps(c, mask, sum);
  }
}

typedef struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} Configuration;

// Two by two tiles of sums over a block of the depth.
TILES static inline void sumBlock(
    const uint16_t *left, const uint16_t *right, long depthTiles, float *sums, int isFirst,
    int hasRow, int hasColumn) {
  const long stride = 64, next = tileBytes / 2, second = blockDepth / tileDepth * next;
  if (isFirst) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, stride);
    _tile_loadd(1, sums + 256, stride);
    _tile_loadd(2, sums + 512, stride);
    _tile_loadd(3, sums + 768, stride);
  }
  for (long k = 0; k < depthTiles; k++) {
    _tile_loadd(4, left + k * next, stride);
    _tile_loadd(6, right + k * next, stride);
    _tile_dpbf16ps(0, 4, 6);
    if (hasRow) {
      _tile_loadd(5, left + second + k * next, stride);
      _tile_dpbf16ps(2, 5, 6);
    }
    if (hasColumn) {
      _tile_loadd(7, right + second + k * next, stride);
      _tile_dpbf16ps(1, 4, 7);
      if (hasRow) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, stride);
  _tile_stored(1, sums + 256, stride);
  _tile_stored(2, sums + 512, stride);
  _tile_stored(3, sums + 768, stride);
}

TILES void sail_tiles_multiply(const sail_tile_product *p, void *scratch) {
  // With weights (N, K) the sums are made transposed: then the weights are only copied, and the few
  // rows are what is turned.
  const int isTransposed = p->transposesB && !p->transposesA;
  const Operand a = {p->a, p->rows, p->inner, p->transposesA};
  const Operand b = {p->b, p->columns, p->inner, !p->transposesB};
  const Operand left = isTransposed ? b : a, right = isTransposed ? a : b;

  uint16_t *packedRight = scratch;
  uint16_t *packedLeft = packedRight + blockColumns * blockDepth;
  float *tile = (float *)(packedLeft + 2 * side * blockDepth);
  float *sums = tile + 4 * 256;
  const long second = blockDepth / tileDepth * (tileBytes / 2);
  const int isCut = p->inner > blockDepth;

  Configuration configuration;
  memset(&configuration, 0, sizeof configuration);
  configuration.palette = 1;
  for (int i = 0; i < 8; i++) {
    configuration.bytes[i] = 64;
    configuration.rows[i] = 16;
  }
  _tile_loadconfig(&configuration);
  for (long column = 0; column < right.lines; column += blockColumns) {
    const long endColumn =
        column + blockColumns < right.lines ? column + blockColumns : right.lines;
    for (long depth = 0; depth < p->inner; depth += blockDepth) {
      const long endDepth = depth + blockDepth < p->inner ? depth + blockDepth : p->inner;
      const long depthTiles = (endDepth - depth + tileDepth - 1) / tileDepth;
      for (long c = column; c < endColumn; c += side)
        for (long k = 0; k < depthTiles; k++)
          pack(&right, c, depth + k * tileDepth, 1,
               packedRight + (c - column) / side * second + k * (tileBytes / 2));
      for (long row = 0; row < left.lines; row += 2 * side) {
        const int hasRow = row + side < left.lines;
        for (int half = 0; half <= hasRow; half++)
          for (long k = 0; k < depthTiles; k++)
            pack(&left, row + half * side, depth + k * tileDepth, 0,
                 packedLeft + half * second + k * (tileBytes / 2));
        for (long c = column; c < endColumn; c += 2 * side) {
          const int hasColumn = c + side < endColumn;
          float *target =
              isCut ? sums + (row / 32 * (blockColumns / 32) + (c - column) / 32) * 1024 : tile;
          sumBlock(packedLeft, packedRight + (c - column) / side * second, depthTiles, target,
                   depth == 0, hasRow, hasColumn);
          if (endDepth < p->inner) continue;
          store(p, target, row, c, isTransposed);
          if (hasColumn) store(p, target + 256, row, c + side, isTransposed);
          if (hasRow) store(p, target + 512, row + side, c, isTransposed);
          if (hasRow && hasColumn) store(p, target + 768, row + side, c + side, isTransposed);
        }
      }
    }
  }
  _tile_release();
}
