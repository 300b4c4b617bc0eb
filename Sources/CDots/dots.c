// Products of bf16 matrices on dot products of pairs (AVX512_BF16, VDPBF16PS; Intel SDM vol. 2). C, as
// the instructions exist as C intrinsics only.
//
// The instruction reads the right operand as pairs of K by 16 columns. For few rows they are made in
// registers, where they are used. For more, a panel of 32 columns is packed while the one before is
// multiplied: the shuffles run beside the products. What is read next is fetched ahead, line after line,
// since memory is what limits products of few rows.
#include "dots.h"

#include <immintrin.h>

#define DOTS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define INLINE static inline __attribute__((always_inline)) DOTS
#define UNROLL _Pragma("clang loop unroll(full)")

// Columns of a vector of sums; vectors of a panel, and where nothing is packed; rows of a block of sums.
enum { side = 16, panelVectors = 2, directVectors = 4, mostRows = 8 };
// A unit of packing is 4 pairs of K by 16 columns. A step multiplies 8 pairs: 4 units of two vectors.
enum { unitPairs = 4, stepPairs = 8, stepUnits = 4 };
// A cache line of each of 16 rows; rows this far apart (4 KB) all have their place in one set of the
// first-level cache, so that a line has to be used when it is read.
enum { lineNumbers = 32, linesNumbers = side * lineNumbers, crowdedStride = 2048 };

int sail_cpu_has_bf16_dots(void) {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

size_t sail_dots_scratch(const sail_dot_product *p) {
  return (size_t)(2 * panelVectors * side * p->inner + linesNumbers) * sizeof(uint16_t);
}

static long least(long a, long b) { return a < b ? a : b; }

// Packing of a panel; what comes next.
typedef struct {
  const sail_dot_product *product;
  uint32_t *panel;
  uint16_t *lines;
  long column, vectors;
  long vector, pair;
  long unitsAStep;
  // The lines that are fetched.
  const char *ahead;
} Packing;

// The second 16 rows of an operand stored (N, K); the first ones are read at once.
static const char *firstAhead(const sail_dot_product *p) {
  return (const char *)(p->b + (p->transposesB ? side * p->strideB : 0));
}

static Packing packingOf(
    const sail_dot_product *p, long column, uint32_t *panel, uint16_t *lines, const char *ahead) {
  const long columns = least(panelVectors * side, p->columns - column);
  return (Packing){p, panel, lines, column, columns > 0 ? columns / side : 0, 0, 0, 0, ahead};
}

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

// Packs the next `units`, or what is left.
INLINE void pack(Packing *n, long units) {
  const sail_dot_product *p = n->product;
  for (; units > 0 && n->vector < n->vectors; units--) {
    const long column = n->column + n->vector * side, toStride = n->vectors * side;
    uint32_t *to = n->panel + n->pair * toStride + n->vector * side;
    // As many bytes as a unit has.
    for (int line = 0; line < 4; line++, n->ahead += 64) _mm_prefetch(n->ahead, _MM_HINT_T0);
    if (p->transposesB) {
      const uint16_t *from = p->b + column * p->strideB;
      if (p->strideB % crowdedStride == 0) {
        const long numbers = 2 * n->pair % lineNumbers;
        if (numbers == 0) copyLines(from + 2 * n->pair, p->strideB, n->lines);
        packTransposed(n->lines + numbers, lineNumbers, to, toStride);
      } else {
        packTransposed(from + 2 * n->pair, p->strideB, to, toStride);
      }
    } else {
      packPlain(p->b + 2 * n->pair * p->strideB + column, p->strideB, to, toStride);
    }
    n->pair += unitPairs;
    if (2 * n->pair == p->inner) {
      n->pair = 0;
      n->vector += 1;
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

// The order of sums of oneDNN's brg kernels: a deep sum is cut, and each cut's sum added to those before.
static long cutDepth(long inner) { return inner > 1024 ? 1024 : 512; }

INLINE void store(__m512 sums, const sail_dot_product *p, long place) {
  if (p->roundsResult)
    _mm256_storeu_si256((__m256i *)((uint16_t *)p->c + place), (__m256i)_mm512_cvtneps_pbh(sums));
  else
    _mm512_storeu_ps((float *)p->c + place, sums);
}

// The sums of some rows by a panel, while the next one is packed.
INLINE void multiplyBlock(
    const int rows, const int vectors, const sail_dot_product *p, long row, long column,
    const uint32_t *panel, Packing *next) {
  __m512 sums[mostRows][panelVectors], totals[mostRows][panelVectors];
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    sums[r][v] = totals[r][v] = _mm512_setzero_ps();
  }
  const long strideA = p->strideA;
  const uint16_t *a = p->a + row * strideA;
  for (long start = 0; start < p->inner; start += cutDepth(p->inner)) {
    const long end = least(p->inner, start + cutDepth(p->inner));
    for (long k = start; k < end; k += 2 * stepPairs) {
      UNROLL for (int pair = 0; pair < stepPairs; pair++) {
        const uint32_t *line = panel + (k / 2 + pair) * vectors * side;
        __m512i right[panelVectors];
        UNROLL for (int v = 0; v < vectors; v++) right[v] = _mm512_load_si512(line + v * side);
        UNROLL for (int r = 0; r < rows; r++) {
          const uint16_t *left = a + r * strideA + k + 2 * pair;
          UNROLL for (int v = 0; v < vectors; v++) addPair(&sums[r][v], left, right[v]);
        }
      }
      pack(next, next->unitsAStep);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
      totals[r][v] = start == 0 ? sums[r][v] : _mm512_add_ps(totals[r][v], sums[r][v]);
      sums[r][v] = _mm512_setzero_ps();
    }
  }
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
    store(totals[r][v], p, (row + r) * p->strideC + column + v * side);
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
  const char *ahead = p->ahead ? p->ahead : firstAhead(p);
  const long strideA = p->strideA, strideB = p->strideB;
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
        // As many bytes as are read; into the second-level cache, since 16 rows are needed at once,
        // which is more than the first one holds.
        for (int line = 0; line < vectors * side; line++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
        __m512i right[side];
        if (transposesB) transposeLines(from, strideB, right);
        UNROLL for (int pair = 0; pair < side; pair++) UNROLL for (int v = 0; v < vectors; v++) {
          if (!transposesB)
            right[pair] = interleave(from + 2 * pair * strideB + v * side, strideB);
          UNROLL for (int r = 0; r < rows; r++)
            addPair(&sums[r][v], p->a + r * strideA + k + 2 * pair, right[pair]);
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
      const sail_dot_product *p, long row, long column, const Packing *packed, Packing *next) {   \
    if (packed->vectors == 1) multiplyBlock(rows, 1, p, row, column, packed->panel, next);        \
    else multiplyBlock(rows, panelVectors, p, row, column, packed->panel, next);                  \
  }
ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)

static void (*const directs[])(const sail_dot_product *) = {
    direct1, direct2, direct3, direct4, direct5, direct6, direct7, direct8};
static void (*const blocks[])(
    const sail_dot_product *, long, long, const Packing *, Packing *) = {
    block1, block2, block3, block4, block5, block6, block7, block8};

DOTS static void multiplyPanels(const sail_dot_product *p, uint32_t *panels) {
  const long panelPairs = panelVectors * side * p->inner / 2;
  uint16_t *const lines = (uint16_t *)(panels + 2 * panelPairs);
  const long count = (p->rows + mostRows - 1) / mostRows;
  Packing packed = packingOf(p, 0, panels, lines, p->ahead ? p->ahead : firstAhead(p));
  packed.unitsAStep = (stepUnits + count - 1) / count;
  pack(&packed, packed.vectors * p->inner);
  for (long column = 0; column < p->columns;) {
    const long after = column + packed.vectors * side;
    Packing next = packingOf(
        p, after, packed.panel == panels ? panels + panelPairs : panels, lines, packed.ahead);
    next.unitsAStep = packed.unitsAStep;
    for (long i = 0; i < count; i++) {
      const long row = p->rows * i / count, rows = p->rows * (i + 1) / count - row;
      blocks[rows - 1](p, row, column, &packed, &next);
    }
    // Of a wider panel than this one.
    pack(&next, next.vectors * p->inner);
    packed = next;
    column = after;
  }
}

void sail_dots_multiply(const sail_dot_product *p, void *scratch) {
  if (p->rows <= 0) return;
  if (p->rows <= mostRows) directs[p->rows - 1](p);
  else multiplyPanels(p, scratch);
}
