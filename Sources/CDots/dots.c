// Products of bf16 matrices on dot products of pairs (AVX512_BF16, VDPBF16PS; Intel SDM vol. 2). C, as
// the instructions exist as C intrinsics only.
//
// The instruction reads the right operand as pairs of K by 16 columns. For few rows they are made in
// registers, where they are used. For more, a piece of a panel of 32 columns is packed while the one before
// is multiplied: the shuffles run beside the products. What is read next is fetched ahead, line after line,
// since memory is what limits products of few rows.
#include "dots.h"

#include <immintrin.h>

#define DOTS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define INLINE static inline __attribute__((always_inline)) DOTS
#define UNROLL _Pragma("clang loop unroll(full)")

// Columns of a vector of sums; vectors of a panel, and where nothing is packed; rows of a block of sums.
enum { side = 16, panelVectors = 2, directVectors = 4, mostRows = 8 };
// A unit of packing is 4 pairs of K by 16 columns. A step multiplies 8 pairs.
enum { unitPairs = 4, stepPairs = 8 };
// Rows of an operand stored (K, N), or of an A stored (K, M), that are fetched before they are packed.
enum { rowsAhead = 32 };
// A cache line of each of 16 rows; rows this far apart (4 KB) all have their place in one set of the
// first-level cache, so that a line has to be used when it is read. Rows this near have theirs in different ones.
enum { lineNumbers = 32, linesNumbers = side * lineNumbers, crowdedStride = 2048, nearStride = 128 };

int sail_cpu_has_bf16_dots(void) {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static long least(long a, long b) { return a < b ? a : b; }

// The order of sums of oneDNN's brg kernels: a deep sum is cut, and each cut's sum added to those before.
static long cutDepth(long inner) { return inner > 1024 ? 1024 : least(inner, 512); }

// Numbers of A that are read for every panel: half a megabyte, for which the second-level cache has room,
// if that is 200 rows or more; else five megabytes, from the last-level cache. A packed A is dense: one
// megabyte was best (docs/decisions/0006-dots.md).
static long leftNumbers(const sail_dot_product *p) {
  if (p->transposesA) return 1 << 19;
  return p->inner <= 1024 ? 1 << 18 : 5 << 19;
}

// Parts of A's rows that are multiplied one after the other; of an A stored (K, M) they are whole lines.
static long chunkCount(const sail_dot_product *p) {
  return (p->rows * p->inner + leftNumbers(p) - 1) / leftNumbers(p);
}
static size_t resultBytes(const sail_dot_product *p) { return p->roundsResult ? 2 : 4; }
static sail_dot_product chunkOf(const sail_dot_product *p, long chunk) {
  const long count = chunkCount(p), unit = p->transposesA ? lineNumbers : 1;
  const long units = (p->rows + unit - 1) / unit;
  const long row = units * chunk / count * unit;
  sail_dot_product part = *p;
  part.rows = least(p->rows, units * (chunk + 1) / count * unit) - row;
  part.a += p->transposesA ? row : row * p->strideA;
  part.c = (char *)p->c + row * p->strideC * resultBytes(p);
  return part;
}

// Blocks of rows: of a packed A as it is packed, else none larger than another by more than one.
static long blockCount(const sail_dot_product *p) { return (p->rows + mostRows - 1) / mostRows; }
static long blockStart(const sail_dot_product *p, long block) {
  return p->transposesA ? least(p->rows, mostRows * block) : p->rows * block / blockCount(p);
}

// What a product needs in its scratch, in numbers of 4 bytes.
static long panelPairs(const sail_dot_product *p) {
  return panelVectors * side * cutDepth(p->inner) / 2;
}
static long linesPairs(void) { return linesNumbers / 2; }
static long partialSums(const sail_dot_product *p) {
  return p->inner > cutDepth(p->inner) ? p->rows * panelVectors * side : 0;
}
static long leftPairs(const sail_dot_product *p) {
  return p->transposesA ? blockCount(p) * mostRows * p->inner / 2 : 0;
}

size_t sail_dots_scratch(const sail_dot_product *p) {
  if (p->rows <= 0) return 0;
  // None of the chunks has more rows than this.
  sail_dot_product most = *p;
  most.rows = least(p->rows, p->rows / chunkCount(p) + 2 * lineNumbers);
  return (size_t)(2 * panelPairs(p) + linesPairs() + partialSums(&most) + leftPairs(&most)) * 4;
}

// A panel's cut of the sums: its columns of the right operand, packed; how far the packing is.
typedef struct {
  const sail_dot_product *product;
  uint32_t *panel;
  uint16_t *lines;
  long column, vectors, start, depth;
  long vector, pair;
} Piece;

static Piece pieceOf(
    const sail_dot_product *p, long column, long start, uint32_t *panel, uint16_t *lines) {
  const long columns = least(panelVectors * side, p->columns - column);
  return (Piece){p,     panel, lines, column, columns > 0 ? columns / side : 0,
                 start, least(cutDepth(p->inner), p->inner - start),       0, 0};
}

// The cuts of a panel, then the next panel's.
static Piece pieceAfter(const Piece *n, uint32_t *panel) {
  const long start = n->start + n->depth;
  return start < n->product->inner
             ? pieceOf(n->product, n->column, start, panel, n->lines)
             : pieceOf(n->product, n->column + n->vectors * side, 0, panel, n->lines);
}

static long unitCount(const Piece *n) { return n->vectors * n->depth / (2 * unitPairs); }

// Four rows of 16, four apart, by 4 pairs, each in its quarter.
INLINE __m512i loadRows(const uint16_t *from, long stride) {
  const __m512i first = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)from));
  const __m512i second = _mm512_mask_broadcast_i32x4(
      first, 0x00F0, _mm_loadu_si128((const __m128i *)(from + 4 * stride)));
  const __m512i third = _mm512_mask_broadcast_i32x4(
      second, 0x0F00, _mm_loadu_si128((const __m128i *)(from + 8 * stride)));
  return _mm512_mask_broadcast_i32x4(
      third, 0xF000, _mm_loadu_si128((const __m128i *)(from + 12 * stride)));
}

INLINE void copyLines(const uint16_t *from, long stride, uint16_t *to) {
  for (int row = 0; row < side; row++)
    _mm512_store_si512(to + row * lineNumbers, _mm512_loadu_si512(from + row * stride));
}

// B stored (N, K): 16 rows by 4 pairs are transposed.
INLINE void packTransposed(const uint16_t *from, long stride, uint32_t *to, long toStride) {
  const __m512i r0 = loadRows(from, stride), r1 = loadRows(from + stride, stride);
  const __m512i r2 = loadRows(from + 2 * stride, stride), r3 = loadRows(from + 3 * stride, stride);
  const __m512i a = _mm512_unpacklo_epi32(r0, r1), b = _mm512_unpacklo_epi32(r2, r3);
  const __m512i c = _mm512_unpackhi_epi32(r0, r1), d = _mm512_unpackhi_epi32(r2, r3);
  _mm512_store_si512(to, _mm512_unpacklo_epi64(a, b));
  _mm512_store_si512(to + toStride, _mm512_unpackhi_epi64(a, b));
  _mm512_store_si512(to + 2 * toStride, _mm512_unpacklo_epi64(c, d));
  _mm512_store_si512(to + 3 * toStride, _mm512_unpackhi_epi64(c, d));
}

// 16 numbers of a row and of the next one, in pairs.
INLINE __m512i interleave(const uint16_t *from, long stride) {
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
  const __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from + stride)));
  return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
}

// B stored (K, N): of 8 rows each two are interleaved.
INLINE void packPlain(const uint16_t *from, long stride, uint32_t *to, long toStride) {
  for (int pair = 0; pair < unitPairs; pair++, from += 2 * stride, to += toStride)
    _mm512_store_si512(to, interleave(from, stride));
}

// The 16 rows of B stored (N, K) that are packed after a piece's vector.
INLINE const uint16_t *rowsAfter(const Piece *n) {
  const sail_dot_product *p = n->product;
  const long column = n->column + n->vector * side;
  if (n->vector + 1 < n->vectors) return p->b + (column + side) * p->strideB + n->start;
  if (n->start + n->depth < p->inner)
    return p->b + n->column * p->strideB + n->start + n->depth;
  return p->b + least(column + side, p->columns - side) * p->strideB;
}

// B stored (N, K): one vector after the other, as lines of its rows are read in full by four units.
INLINE void packRows(Piece *n, uint32_t *to, long toStride) {
  const sail_dot_product *p = n->product;
  const uint16_t *from = p->b + (n->column + n->vector * side) * p->strideB + n->start;
  const long numbers = 2 * n->pair % lineNumbers;
  // As many lines as a unit has, of the rows that come next.
  const uint16_t *after = rowsAfter(n) + 2 * n->pair - numbers + numbers / 2 * p->strideB;
  for (int row = 0; row < 4; row++) {
    // Into the first-level cache only where 32 rows find room in it.
    if (p->strideB <= nearStride) _mm_prefetch(after + row * p->strideB, _MM_HINT_T0);
    else _mm_prefetch(after + row * p->strideB, _MM_HINT_T1);
  }
  if (p->strideB % crowdedStride == 0) {
    if (numbers == 0) copyLines(from + 2 * n->pair, p->strideB, n->lines);
    packTransposed(n->lines + numbers, lineNumbers, to, toStride);
  } else {
    packTransposed(from + 2 * n->pair, p->strideB, to, toStride);
  }
  n->pair += unitPairs;
  if (2 * n->pair == n->depth) {
    n->pair = 0;
    n->vector += 1;
  }
}

// B stored (K, N): the vectors side by side, which are one line of each row.
INLINE void packColumns(Piece *n, uint32_t *to, long toStride) {
  const sail_dot_product *p = n->product;
  const long k = n->start + 2 * n->pair;
  const uint16_t *from = p->b + n->column + n->vector * side;
  // As many lines as a unit has of its own.
  const long lines = 2 * unitPairs / n->vectors;
  for (long row = 0; row < lines; row++) {
    long after = k + rowsAhead + lines * n->vector + row;
    const uint16_t *line = from;
    if (after >= p->inner) {
      after -= p->inner;
      line += panelVectors * side;
    }
    if (after < p->inner) _mm_prefetch(line + after * p->strideB, _MM_HINT_T1);
  }
  packPlain(from + k * p->strideB, p->strideB, to, toStride);
  n->vector += 1;
  if (n->vector == n->vectors) {
    n->pair += unitPairs;
    n->vector = 2 * n->pair == n->depth ? n->vectors : 0;
  }
}

// Packs the next `units`, or what is left.
INLINE void pack(Piece *n, long units) {
  for (; units > 0 && n->vector < n->vectors; units--) {
    const long toStride = n->vectors * side;
    uint32_t *to = n->panel + n->pair * toStride + n->vector * side;
    if (n->product->transposesB) packRows(n, to, toStride);
    else packColumns(n, to, toStride);
  }
}

INLINE void storePairs(uint32_t *to, __m256i pairs) { _mm256_store_si256((__m256i *)to, pairs); }

// A stored (K, M): each block's pairs of K, row after row. Four blocks at a time, whose rows are a line of A.
DOTS static void packLeft(const sail_dot_product *p, uint32_t *to) {
  const __m512i firstBlocks = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i lastBlocks = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  const long blockPairs = mostRows * p->inner / 2;
  for (long row = 0; row < p->rows; row += lineNumbers, to += 4 * blockPairs) {
    const long rows = least(lineNumbers, p->rows - row), left = (rows + mostRows - 1) / mostRows;
    const __mmask32 numbers = (__mmask32)((1ull << rows) - 1);
    for (long k = 0; k < p->inner; k += 2) {
      const uint16_t *from = p->a + k * p->strideA + row;
      if (k + rowsAhead < p->inner) {
        _mm_prefetch(from + rowsAhead * p->strideA, _MM_HINT_T1);
        _mm_prefetch(from + (rowsAhead + 1) * p->strideA, _MM_HINT_T1);
      }
      const __m512i even = _mm512_maskz_loadu_epi16(numbers, from);
      const __m512i odd = _mm512_maskz_loadu_epi16(numbers, from + p->strideA);
      // Of each 8 rows the first four, and the last four.
      const __m512i low = _mm512_unpacklo_epi16(even, odd), high = _mm512_unpackhi_epi16(even, odd);
      const __m512i first = _mm512_permutex2var_epi64(low, firstBlocks, high);
      const __m512i last = _mm512_permutex2var_epi64(low, lastBlocks, high);
      uint32_t *place = to + k / 2 * mostRows;
      storePairs(place, _mm512_castsi512_si256(first));
      if (left > 1) storePairs(place + blockPairs, _mm512_extracti64x4_epi64(first, 1));
      if (left > 2) storePairs(place + 2 * blockPairs, _mm512_castsi512_si256(last));
      if (left > 3) storePairs(place + 3 * blockPairs, _mm512_extracti64x4_epi64(last, 1));
    }
  }
}

// Adds the products of a pair of the left operand. As an intrinsic clang loads the pairs of a whole step
// first, and spills them.
INLINE void addPair(__m512 *sums, const uint16_t *left, __m512i right) {
  __asm__ volatile("vdpbf16ps %1%{1to16%}, %2, %0"
                   : "+v"(*sums)
                   : "m"(*(const uint16_t(*)[2])left), "v"(right));
}

INLINE char *resultAt(const sail_dot_product *p, long place) {
  return (char *)p->c + place * resultBytes(p);
}

INLINE void store(__m512 sums, const sail_dot_product *p, long place) {
  char *c = resultAt(p, place);
  if (p->roundsResult) _mm256_storeu_si256((__m256i *)c, (__m256i)_mm512_cvtneps_pbh(sums));
  else if (p->accumulates) _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c), sums));
  else _mm512_storeu_ps(c, sums);
}

// The sums of some rows by a piece, while the next one is packed. `left` has the rows' pairs of the piece's
// first numbers.
INLINE void multiplyBlock(
    const int rows, const int vectors, const int packedLeft, const Piece *piece, long row,
    const uint16_t *left, float *partials, Piece *next, long unitsAStep) {
  const sail_dot_product *p = piece->product;
  const long rowStride = packedLeft ? 2 : p->strideA, pairStride = packedLeft ? 2 * mostRows : 2;
  const long place = row * p->strideC + piece->column;
  const int isFirst = piece->start == 0, isLast = piece->start + piece->depth == p->inner;
  if (isLast) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
      _mm_prefetch(resultAt(p, place + r * p->strideC + v * side), _MM_HINT_T0);
  }
  __m512 sums[mostRows][panelVectors];
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    sums[r][v] = _mm512_setzero_ps();
  }
  const uint32_t *line = piece->panel;
  for (long k = 0; k < piece->depth; k += 2 * stepPairs) {
    UNROLL for (int pair = 0; pair < stepPairs; pair++, line += vectors * side) {
      __m512i right[panelVectors];
      UNROLL for (int v = 0; v < vectors; v++) right[v] = _mm512_load_si512(line + v * side);
      UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        addPair(&sums[r][v], left + r * rowStride + pair * pairStride, right[v]);
    }
    left += stepPairs * pairStride;
    pack(next, unitsAStep);
  }
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    float *partial = partials + ((row + r) * panelVectors + v) * side;
    __m512 total = sums[r][v];
    if (!isFirst) total = _mm512_add_ps(_mm512_load_ps(partial), total);
    if (isLast) store(total, p, place + r * p->strideC + v * side);
    else _mm512_store_ps(partial, total);
  }
}

// B stored (N, K): 16 rows by 16 pairs, a line of each row, are transposed.
INLINE void transposeLines(const uint16_t *from, long stride, __m512i r[16]) {
  __m512i t[16];
  UNROLL for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(from + i * stride);
  UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  // By quarters: r[4 i + j] has rows 4 i to 4 i + 3 of the pairs j, j + 4, j + 8, j + 12.
  UNROLL for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  UNROLL for (int j = 0; j < 4; j++) {
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
  UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
}

// Few rows: nothing is packed.
INLINE void multiplyDirectly(
    const int rows, const int vectors, const int transposesB, const sail_dot_product *p) {
  const long strideA = p->strideA, strideB = p->strideB;
  // The second 16 rows of an operand stored (N, K): the first ones are read at once.
  const char *ahead = p->ahead ? p->ahead : (const char *)(p->b + (transposesB ? side * strideB : 0));
  for (long column = 0; column < p->columns; column += vectors * side) {
    __m512 sums[mostRows][directVectors], totals[mostRows][directVectors];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
      sums[r][v] = totals[r][v] = _mm512_setzero_ps();
    }
    for (long start = 0; start < p->inner; start += cutDepth(p->inner)) {
      const long end = least(p->inner, start + cutDepth(p->inner));
      for (long k = start; k < end; k += lineNumbers) {
        const uint16_t *from =
            p->b + (transposesB ? column * strideB + k : k * strideB + column);
        __m512i right[side];
        if (transposesB) transposeLines(from, strideB, right);
        UNROLL for (int pair = 0; pair < side; pair++) UNROLL for (int v = 0; v < vectors; v++) {
          if (!transposesB)
            right[pair] = interleave(from + 2 * pair * strideB + v * side, strideB);
          UNROLL for (int r = 0; r < rows; r++)
            addPair(&sums[r][v], p->a + r * strideA + k + 2 * pair, right[pair]);
          // As many bytes as are read, one line at a time: a burst fills the queue of what is missing, and
          // everything waits. Into the second-level cache: 16 rows are more than the first one holds.
          _mm_prefetch(ahead, _MM_HINT_T1);
          ahead += 64;
        }
      }
      UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        totals[r][v] = start == 0 ? sums[r][v] : _mm512_add_ps(totals[r][v], sums[r][v]);
        sums[r][v] = _mm512_setzero_ps();
      }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
      store(totals[r][v], p, r * p->strideC + column + v * side);
  }
}

// The code for every number of rows, 1 to 8.
#define ROWS(rows)                                                                                \
  DOTS static void direct##rows(const sail_dot_product *p) {                                      \
    if (p->transposesB) multiplyDirectly(rows, 1, 1, p);                                          \
    else if (p->columns % (directVectors * side)) multiplyDirectly(rows, 1, 0, p);                \
    else multiplyDirectly(rows, directVectors, 0, p);                                             \
  }                                                                                               \
  DOTS static void block##rows(                                                                   \
      const Piece *piece, long row, const uint16_t *left, float *partials, Piece *next,           \
      long unitsAStep) {                                                                          \
    const int packed = piece->product->transposesA;                                               \
    if (piece->vectors == 1 && packed)                                                            \
      multiplyBlock(rows, 1, 1, piece, row, left, partials, next, unitsAStep);                    \
    else if (piece->vectors == 1)                                                                 \
      multiplyBlock(rows, 1, 0, piece, row, left, partials, next, unitsAStep);                    \
    else if (packed)                                                                              \
      multiplyBlock(rows, panelVectors, 1, piece, row, left, partials, next, unitsAStep);         \
    else multiplyBlock(rows, panelVectors, 0, piece, row, left, partials, next, unitsAStep);      \
  }
ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)

static void (*const directs[])(const sail_dot_product *) = {
    direct1, direct2, direct3, direct4, direct5, direct6, direct7, direct8};
static void (*const blocks[])(const Piece *, long, const uint16_t *, float *, Piece *, long) = {
    block1, block2, block3, block4, block5, block6, block7, block8};

DOTS static void multiplyPanels(const sail_dot_product *p, uint32_t *scratch) {
  uint32_t *const panels = scratch;
  uint16_t *const lines = (uint16_t *)(panels + 2 * panelPairs(p));
  float *const partials = (float *)(lines + linesNumbers);
  uint32_t *const packedLeft = (uint32_t *)(partials + partialSums(p));
  const long count = blockCount(p);
  if (p->transposesA) packLeft(p, packedLeft);
  Piece piece = pieceOf(p, 0, 0, panels, lines);
  pack(&piece, unitCount(&piece));
  while (piece.vectors > 0) {
    Piece next = pieceAfter(&piece, piece.panel == panels ? panels + panelPairs(p) : panels);
    const long steps = count * piece.depth / (2 * stepPairs);
    const long unitsAStep = (unitCount(&next) + steps - 1) / steps;
    for (long block = 0; block < count; block++) {
      const long row = blockStart(p, block);
      const uint16_t *left =
          p->transposesA
              ? (uint16_t *)(packedLeft + block * mostRows * p->inner / 2 + piece.start / 2 * mostRows)
              : p->a + row * p->strideA + piece.start;
      blocks[blockStart(p, block + 1) - row - 1](&piece, row, left, partials, &next, unitsAStep);
    }
    piece = next;
  }
}

DOTS void sail_dots_multiply(const sail_dot_product *p, void *scratch) {
  if (p->rows <= 0) return;
  if (p->rows <= mostRows && !p->transposesA && !p->accumulates) {
    directs[p->rows - 1](p);
    return;
  }
  for (long chunk = 0; chunk < chunkCount(p); chunk++) {
    const sail_dot_product part = chunkOf(p, chunk);
    if (part.rows > 0) multiplyPanels(&part, scratch);
  }
}
