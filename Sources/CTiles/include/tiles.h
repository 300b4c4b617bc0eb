// Products of bf16 matrices on AMX tiles, for the calling thread. The layout of tiles (palette 1: eight
// of 16 rows × 64 bytes) is the architecture's, so that CPUID need not tell it.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// C (M, N) = or += op(A) (M, K) · op(B) (K, N), row-major; A and B bf16, sums f32 in the order of K. No
/// element depends on its neighbours. Strides are the numbers between rows as they are stored.
typedef struct {
  const uint16_t *a, *b;
  void *c;
  long rows, columns, inner;
  long strideA, strideB, strideC;
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
size_t sail_tiles_scratch(const sail_tile_product *product);
/// Computes a product.
void sail_tiles_multiply(const sail_tile_product *product, void *scratch);
