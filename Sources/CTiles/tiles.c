// Products of bf16 matrices on AMX tiles (Intel SDM vol. 1, chapter 18). C, as the tile instructions
// exist as C intrinsics only.
//
// Two by two tiles of sums are one block. The right operand is packed into tiles, as many columns at a
// time as fit the second-level cache; the left one is read in place where its depth runs along memory,
// else packed once. While a block is multiplied, the sums of the block before are stored and the rows
// of the next panel are fetched: memory, not the tiles, is what limits these products.
#include "tiles.h"

#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILES __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,prfchw")))

// A tile is 16 rows of 64 bytes: 16 × 32 bf16, 16 pairs × 16 columns, or 16 × 16 floats.
enum { side = 16, tileDepth = 32, tileNumbers = 512, tileFloats = 256 };
// Rows of a panel, columns of a block.
enum { panelRows = 2 * side, blockSide = 2 * side };
// The right operand is packed in parts of this many numbers (1 MB, half of a second-level cache), and the
// depth is cut beyond `mostDepth`.
enum { partNumbers = 1 << 19, mostDepth = 4096 };
// Results from this size on don't stay in the caches: they are written past them.
enum { streamedBytes = 1 << 20 };

int sail_tiles_request(void) {
  // ARCH_REQ_XCOMP_PERM for the tiles' state; Linux 5.16 and later.
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

static long least(long a, long b) { return a < b ? a : b; }
static long up(long value, long multiple) { return (value + multiple - 1) / multiple * multiple; }

// An operand: lines (rows of the left, columns of the right one) with the depth along memory, or the
// depth outside.
typedef struct {
  const uint16_t *base;
  long lines, depth, stride;
  int depthOutside;
} Operand;

// How a product is done.
typedef struct {
  Operand left, right;
  // With weights (N, K) the sums are made transposed: the weights are then the left operand, read in
  // place, and the fewer rows are what is packed.
  int isTransposed;
  // The depth in equal cuts, the right operand in parts.
  long cutDepth, partColumns;
  // The lines of the left operand from this one on are packed.
  long firstPacked;
} Plan;

static Plan planOf(const sail_tile_product *p) {
  const Operand a = {p->a, p->rows, p->inner, p->strideA, p->transposesA};
  const Operand b = {p->b, p->columns, p->inner, p->strideB, !p->transposesB};
  Plan plan;
  plan.isTransposed = p->transposesB && !p->transposesA;
  plan.left = plan.isTransposed ? b : a;
  plan.right = plan.isTransposed ? a : b;
  const long cuts = (p->inner + mostDepth - 1) / mostDepth;
  plan.cutDepth = up((p->inner + cuts - 1) / cuts, tileDepth);
  plan.partColumns =
      least(partNumbers / plan.cutDepth / blockSide * blockSide, up(plan.right.lines, blockSide));
  const int isInPlace = !plan.left.depthOutside && p->inner % tileDepth == 0;
  plan.firstPacked = isInPlace ? plan.left.lines / panelRows * panelRows : 0;
  return plan;
}

size_t sail_tiles_scratch(const sail_tile_product *p) {
  const Plan plan = planOf(p);
  const long lines = up(plan.left.lines, panelRows), depth = up(p->inner, tileDepth);
  const long sums = p->inner > plan.cutDepth ? lines * plan.partColumns : 0;
  return (size_t)(plan.partColumns * plan.cutDepth + (lines - plan.firstPacked) * depth) * 2 +
         (size_t)(8 * tileFloats + sums) * 4;
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

// Packs 16 lines × 32 of the depth; what is beyond the operand is zero. `pairsOutside`: as a right
// tile has it.
TILES static void packEdge(
    const Operand *o, long line, long depth, int pairsOutside, uint16_t *to) {
  __m512i r[16];
  if (o->depthOutside) {
    const long count = o->lines - line;
    const __mmask16 mask = count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
    for (int i = 0; i < 16; i++) {
      const long d = depth + 2 * i;
      const uint16_t *p = o->base + d * o->stride + line;
      __m256i first = d < o->depth ? _mm256_maskz_loadu_epi16(mask, p) : _mm256_setzero_si256();
      __m256i second = d + 1 < o->depth ? _mm256_maskz_loadu_epi16(mask, p + o->stride)
                                        : _mm256_setzero_si256();
      r[i] = _mm512_or_si512(
          _mm512_cvtepu16_epi32(first), _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
    }
  } else {
    const long count = o->depth - depth;
    const __mmask32 mask = count >= 32 ? 0xffffffffu : (1u << count) - 1;
    for (int i = 0; i < 16; i++)
      r[i] = line + i < o->lines
                 ? _mm512_maskz_loadu_epi16(mask, o->base + (line + i) * o->stride + depth)
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
    const uint16_t *p = o->base + depth * o->stride + line;
    const long step = o->stride;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = pairs(p + 2 * i * step, p + (2 * i + 1) * step);
  } else {
    const uint16_t *p = o->base + line * o->stride + depth;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(p + i * o->stride);
  }
  if (o->depthOutside != pairsOutside) transpose(r);
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i++) _mm512_store_si512(to + 32 * i, r[i]);
}

// Packs the lines firstLine..<endLine over firstDepth..<endDepth: 32 lines after another, each from tile to tile
// of the depth, two tiles of lines each. Reads along memory.
TILES static void packLines(
    const Operand *o, long firstLine, long endLine, long firstDepth, long endDepth, int pairsOutside,
    uint16_t *to) {
  const long depthTiles = (endDepth - firstDepth + tileDepth - 1) / tileDepth;
  const long lineTiles = up(endLine - firstLine, blockSide) / side;
  const long outer = o->depthOutside ? depthTiles : lineTiles;
  const long innerCount = o->depthOutside ? lineTiles : depthTiles;
  for (long i = 0; i < outer; i++)
    for (long j = 0; j < innerCount; j++) {
      const long line = o->depthOutside ? j : i, depth = o->depthOutside ? i : j;
      pack(o, firstLine + line * side, firstDepth + depth * tileDepth, pairsOutside,
           to + ((line / 2 * depthTiles + depth) * 2 + line % 2) * tileNumbers);
    }
}

// 16 floats as bf16: to nearest, ties to even; a NaN stays one.
TILES static inline __m256i rounded(__m512i bits) {
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_srli_epi32(
      _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512 value = _mm512_castsi512_ps(bits);
  const __mmask16 isNaN = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(r, isNaN, _mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(r);
}

TILES static inline void loadTile(__m512i r[16], const float *tile, int isTransposed) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(tile + 16 * i);
  if (isTransposed) transpose(r);
}

// Stores a tile of sums into C from (row, column) on, as far as C reaches.
TILES static void storeEdge(
    const sail_tile_product *p, const float *tile, int isTransposed, long row, long column) {
  __m512i r[16];
  loadTile(r, tile, isTransposed);
  const long count = p->columns - column;
  if (count <= 0) return;
  const __mmask16 mask = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
  for (int i = 0; i < 16 && row + i < p->rows; i++) {
    const long place = (row + i) * p->strideC + column;
    if (p->roundsResult) {
      _mm256_mask_storeu_epi16((uint16_t *)p->c + place, mask, rounded(r[i]));
      continue;
    }
    float *c = (float *)p->c + place;
    __m512 sum = _mm512_castsi512_ps(r[i]);
    if (p->accumulates) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), sum);
    _mm512_mask_storeu_ps(c, mask, sum);
  }
}

// A block of sums that waits to be stored: two by two tiles, of C's rows and columns from here on.
typedef struct {
  const sail_tile_product *product;
  int isTransposed, isStreamed;
  const float *sums;
  long row, column;
} Pending;

// Stores one half of a block: 16 rows × 32 columns of C.
TILES static void storeHalf(const Pending *pending, int half) {
  const sail_tile_product *p = pending->product;
  const int isTransposed = pending->isTransposed;
  const float *first = pending->sums + (isTransposed ? half : 2 * half) * tileFloats;
  const float *second = first + (isTransposed ? 2 : 1) * tileFloats;
  const long row = pending->row + half * side, column = pending->column;
  if (row + side > p->rows || column + blockSide > p->columns) {
    storeEdge(p, first, isTransposed, row, column);
    storeEdge(p, second, isTransposed, row, column + side);
    return;
  }
  __m512i r[16];
  loadTile(r, first, isTransposed);
  if (p->roundsResult) {
    __m256i left[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) left[i] = rounded(r[i]);
    loadTile(r, second, isTransposed);
    uint16_t *c = (uint16_t *)p->c + row * p->strideC + column;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) {
      const __m512i line = _mm512_inserti64x4(_mm512_castsi256_si512(left[i]), rounded(r[i]), 1);
      if (pending->isStreamed)
        _mm512_stream_si512((void *)(c + i * p->strideC), line);
      else
        _mm512_storeu_si512(c + i * p->strideC, line);
    }
    return;
  }
  for (int part = 0; part < 2; part++) {
    float *c = (float *)p->c + row * p->strideC + column + part * side;
    if (part == 1) loadTile(r, second, isTransposed);
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) {
      __m512 sum = _mm512_castsi512_ps(r[i]);
      if (p->accumulates) sum = _mm512_add_ps(_mm512_loadu_ps(c + i * p->strideC), sum);
      if (pending->isStreamed)
        _mm512_stream_ps(c + i * p->strideC, sum);
      else
        _mm512_storeu_ps(c + i * p->strideC, sum);
    }
  }
}

// Fetches the lines of C that a half of a block will be added to.
TILES static void fetchHalf(const sail_tile_product *p, long row, long column, int half) {
  row += half * side;
  if (row + side > p->rows || column + blockSide > p->columns) return;
  const float *c = (const float *)p->c + row * p->strideC + column;
  for (int i = 0; i < side; i++) {
    _mm_prefetch((const char *)(c + i * p->strideC), _MM_HINT_ET0);
    _mm_prefetch((const char *)(c + i * p->strideC + side), _MM_HINT_ET0);
  }
}

// What a block is multiplied from, and what is done beside it.
typedef struct {
  // The left panel's tiles: from one of the depth to the next, from the first 16 lines to the second (in
  // numbers), from row to row (in bytes).
  const uint16_t *left;
  long leftNext, leftSecond, leftRow;
  // The packed right block.
  const uint16_t *right;
  long depthTiles;
  // The sums so far, or null; where the sums go.
  const float *sums;
  float *result;
  // The block to store, or null.
  const Pending *pending;
  // Lines of memory that the next panel needs.
  const char *ahead;
  long aheadLines;
} Block;

// Two by two tiles of sums over a cut of the depth.
TILES static inline void multiplyBlock(
    const sail_tile_product *p, const Block *b, long row, long column, const int hasRow,
    const int hasColumn) {
  const long packed = 64;
  if (!b->sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, b->sums, packed);
    _tile_loadd(1, b->sums + tileFloats, packed);
    _tile_loadd(2, b->sums + 2 * tileFloats, packed);
    _tile_loadd(3, b->sums + 3 * tileFloats, packed);
  }
  const uint16_t *left = b->left, *right = b->right;
  const long leftRow = b->leftRow, leftSecond = b->leftSecond, depthTiles = b->depthTiles;
  const long firstStore = depthTiles / 4, secondStore = depthTiles * 3 / 4;
  const char *ahead = b->ahead;
  const char *aheadEnd = ahead + 64 * b->aheadLines;
  const long aheadStep = up(b->aheadLines, depthTiles) / depthTiles * 64;
  for (long k = 0; k < depthTiles; k++) {
    _tile_loadd(4, left, leftRow);
    _tile_loadd(6, right, packed);
    _tile_dpbf16ps(0, 4, 6);
    if (hasColumn) {
      _tile_loadd(7, right + tileNumbers, packed);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (hasRow) {
      _tile_loadd(5, left + leftSecond, leftRow);
      _tile_dpbf16ps(2, 5, 6);
      if (hasColumn) _tile_dpbf16ps(3, 5, 7);
    }
    left += b->leftNext;
    right += 2 * tileNumbers;
    for (const char *end = ahead + aheadStep; ahead < end && ahead < aheadEnd; ahead += 64)
      _mm_prefetch(ahead, _MM_HINT_T1);
    if (k == firstStore) {
      if (b->pending) storeHalf(b->pending, 0);
      if (p->accumulates) fetchHalf(p, row, column, 0);
    }
    if (k == secondStore) {
      if (b->pending) storeHalf(b->pending, 1);
      if (p->accumulates) fetchHalf(p, row, column, 1);
    }
  }
  float *result = b->result;
  _tile_stored(0, result, packed);
  _tile_stored(1, result + tileFloats, packed);
  _tile_stored(2, result + 2 * tileFloats, packed);
  _tile_stored(3, result + 3 * tileFloats, packed);
}

typedef struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} Configuration;

TILES void sail_tiles_multiply(const sail_tile_product *p, void *scratch) {
  const Plan plan = planOf(p);
  const Operand *left = &plan.left, *right = &plan.right;
  const long packedLines = up(left->lines - plan.firstPacked, panelRows);
  uint16_t *packedRight = scratch;
  uint16_t *packedLeft = packedRight + plan.partColumns * plan.cutDepth;
  float *tiles = (float *)(packedLeft + packedLines * up(p->inner, tileDepth));
  float *sums = tiles + 8 * tileFloats;

  Configuration configuration;
  memset(&configuration, 0, sizeof configuration);
  configuration.palette = 1;
  for (int i = 0; i < 8; i++) {
    configuration.bytes[i] = 64;
    configuration.rows[i] = 16;
  }
  _tile_loadconfig(&configuration);

  Pending pending;
  memset(&pending, 0, sizeof pending);
  pending.product = p;
  pending.isTransposed = plan.isTransposed;
  const long numberBytes = p->roundsResult ? 2 : 4;
  pending.isStreamed = !p->accumulates && p->rows * p->columns * numberBytes >= streamedBytes &&
                       (uintptr_t)p->c % 64 == 0 && p->strideC * numberBytes % 64 == 0;
  for (long depth = 0; depth < p->inner; depth += plan.cutDepth)
    packLines(left, plan.firstPacked, left->lines, depth, least(p->inner, depth + plan.cutDepth), 0,
              packedLeft + packedLines * depth);
  int parity = 0;
  for (long part = 0; part < right->lines; part += plan.partColumns) {
    const long partEnd = least(part + plan.partColumns, right->lines);
    const long partBlocks = up(partEnd - part, blockSide) / blockSide;
    for (long depth = 0; depth < p->inner; depth += plan.cutDepth) {
      const long depthEnd = least(depth + plan.cutDepth, p->inner);
      const int isLast = depthEnd == p->inner;
      Block block;
      memset(&block, 0, sizeof block);
      block.depthTiles = (depthEnd - depth + tileDepth - 1) / tileDepth;
      packLines(right, part, partEnd, depth, depthEnd, 1, packedRight);
      for (long row = 0; row < left->lines; row += panelRows) {
        const int isInPlace = row < plan.firstPacked;
        const long panelNumbers = block.depthTiles * tileDepth * panelRows;
        block.left = isInPlace ? left->base + row * left->stride + depth
                               : packedLeft + packedLines * depth +
                                     (row - plan.firstPacked) / panelRows * panelNumbers;
        block.leftNext = isInPlace ? tileDepth : 2 * tileNumbers;
        block.leftSecond = isInPlace ? side * left->stride : tileNumbers;
        block.leftRow = isInPlace ? left->stride * 2 : 64;
        // The next panel's lines of memory, where they follow one another.
        const int isAhead = isInPlace ? row + panelRows < plan.firstPacked &&
                                            left->stride == depthEnd - depth
                                      : row + panelRows < left->lines;
        const char *ahead = (const char *)(block.left + panelNumbers);
        const long aheadLines = isAhead ? panelNumbers * 2 / 64 : 0;
        const int hasRow = row + side < left->lines;
        for (long i = 0; i < partBlocks; i++) {
          const long column = part + i * blockSide;
          const int hasColumn = column + side < partEnd;
          float *own = sums + (row / panelRows * partBlocks + i) * 4 * tileFloats;
          block.right = packedRight + i * block.depthTiles * 2 * tileNumbers;
          block.sums = depth > 0 ? own : 0;
          block.result = isLast ? tiles + parity * 4 * tileFloats : own;
          block.ahead = ahead + aheadLines * i / partBlocks * 64;
          block.aheadLines = aheadLines * (i + 1) / partBlocks - aheadLines * i / partBlocks;
          const long rowC = plan.isTransposed ? column : row;
          const long columnC = plan.isTransposed ? row : column;
          if (hasRow && hasColumn)
            multiplyBlock(p, &block, rowC, columnC, 1, 1);
          else
            multiplyBlock(p, &block, rowC, columnC, hasRow, hasColumn);
          block.pending = 0;
          if (!isLast) continue;
          pending.sums = block.result;
          pending.row = rowC;
          pending.column = columnC;
          block.pending = &pending;
          parity ^= 1;
        }
      }
      // Before the buffers turn over.
      if (block.pending) {
        storeHalf(&pending, 0);
        storeHalf(&pending, 1);
      }
    }
  }
  if (pending.isStreamed) _mm_sfence();
  _tile_release();
}
