import CPlatform
import CTiles
import Glibc

private let tileSetting = getenv("SAIL_TILES").map { String(cString: $0) } ?? "on"

extension Compute {
  /// The value of the environment's `SAIL_TILES` where it is neither `on` nor `off`; it counts as `on`.
  public static var unknownTileSetting: String? {
    ["on", "off"].contains(tileSetting) ? nil : tileSetting
  }
}

/// Products of bf16 matrices on the tiles of AMX, for one thread.
///
/// Sums run in the order of K whatever the other sizes are, so that no element depends on its
/// neighbours. Of our own, since oneDNN 2.6 cannot use the tiles where a hypervisor hides their layout,
/// as clouds do (docs/decisions/0004-tiles.md has the figures).
final class TileProducts {
  private let scratch = Scratch()

  /// Whether this CPU has tiles that multiply bf16 and the kernel lets this process use them; the
  /// environment's `SAIL_TILES=off` says no, for comparisons with other machines' kernels.
  static let areAvailable =
    tileSetting != "off" && sail_cpu_has_bf16_tiles() != 0 && sail_tiles_request() != 0

  /// Nil where there are no tiles.
  init?() {
    guard TileProducts.areAvailable else { return nil }
  }

  /// Computes a product of bf16 operands; strides are numbers from a stored row to the next.
  func multiply(
    _ shape: ProductShape, _ a: UnsafeRawPointer, strideA: Int, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer, strideC: Int
  ) {
    precondition(shape.precision == .bf16 && !(shape.accumulates && shape.result == .bf16))
    var product = sail_tile_product(
      a: a.assumingMemoryBound(to: UInt16.self), b: b.assumingMemoryBound(to: UInt16.self), c: c,
      rows: shape.rows, columns: shape.columns, inner: shape.inner,
      strideA: strideA, strideB: shape.transposesB ? shape.inner : shape.columns, strideC: strideC,
      transposesA: shape.transposesA ? 1 : 0, transposesB: shape.transposesB ? 1 : 0,
      accumulates: shape.accumulates ? 1 : 0, roundsResult: shape.result == .bf16 ? 1 : 0)
    let bytes = sail_tiles_scratch(&product)
    sail_tiles_multiply(&product, scratch.floats(bytes / MemoryLayout<Float>.stride))
  }
}
