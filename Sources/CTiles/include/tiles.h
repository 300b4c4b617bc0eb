// Products of bf16 matrices on AMX tiles, for the calling thread. The layout of tiles (palette 1: eight
// of 16 rows × 64 bytes) is the architecture's, so that CPUID need not tell it.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// C (M, N) = or += op(A) (M, K) · op(B) (K, N), all dense row-major; A and B bf16, sums f32 in the order
/// of K. No element depends on its neighbours.
typedef struct {
  const uint16_t *a, *b;
  void *c;
  long rows, columns, inner;
  /// A is stored (K, M), B is stored (N, K).
  int transposesA, transposesB;
  /// C += product: the product, then one addition. C is f32.
  int accumulates;
  /// C is bf16.
  int roundsResult;
} sail_tile_product;

/// Asks the kernel for the tiles' state in this process; 0 if it refuses.
int sail_tiles_request(void);
/// Bytes of scratch that a product needs, 64-byte aligned.
size_t sail_tiles_scratch(long rows, long columns, long depth);
/// Computes a product.
void sail_tiles_multiply(const sail_tile_product *product, void *scratch);
