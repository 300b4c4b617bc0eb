// Products of bf16 matrices on AVX-512's dot products of pairs (VDPBF16PS), and of f32 matrices on its fused
// additions, for the calling thread.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// C (M, N) = or += op(A) (M, K) · op(B) (K, N), row-major; A and B bf16 or f32, sums f32. No element depends on
/// its neighbours. N is a multiple of 16, K of 32 unless A is stored (K, M) and B (K, N). Strides are the
/// numbers between rows as they are stored.
typedef struct {
  const void *a, *b;
  void *c;
  long rows, columns, inner;
  long strideA, strideB, strideC;
  /// A is stored (K, M); B is stored (N, K).
  int transposesA, transposesB;
  /// C += product, after its sums are complete; such a C is f32.
  int accumulates;
  /// A and B are f32, else bf16.
  int isWide;
  /// C is bf16, else f32.
  int roundsResult;
  /// What is read soon, as much of it as B has: fetched meanwhile by products of few rows. Null: of a B
  /// stored (N, K) the next rows are.
  const void *ahead;
} sail_dot_product;

/// Whether this CPU has the instructions.
int sail_cpu_has_bf16_dots(void);
/// Bytes of scratch that a product needs, 64-byte aligned.
size_t sail_dots_scratch(const sail_dot_product *product);
/// Computes a product.
void sail_dots_multiply(const sail_dot_product *product, void *scratch);
