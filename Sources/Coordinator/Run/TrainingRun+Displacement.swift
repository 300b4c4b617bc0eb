import Comm
import Model
import Tensor

extension TrainingRun {
  /// Makes what products read of this rank's slice of the weights visible to all; collective.
  func publishWeights() throws { try memory.publishTrained(slices: slices) }

  /// Makes the rest of it visible, so that every rank can read all weights as floats; collective.
  func publishRemainders() throws { try memory.publishRemainders(slices: slices) }

  /// Fills this rank's slice with keyed normal numbers, each times its tensor's root mean square.
  ///
  /// - Parameters:
  ///   - target: the slice, overwritten.
  ///   - key: key of the draws.
  func fillRelativeNormal(_ target: FloatBuffer, key: Int) {
    let slice = optimizer.slice
    if slice.isEmpty { return }
    let random = KeyedRandom(seed: configuration.seed, purpose: .gradientCheck)
    // Slices begin at even places: see OptimizerState.slices.
    fillNormal(
      target.base - slice.lowerBound, count: slice.upperBound, deviation: 1, random: random,
      key: key, pairs: slice.lowerBound / 2..<(slice.upperBound + 1) / 2)
    for parameter in trainedParameters {
      let range = parameter.offset..<parameter.offset + parameter.count
      let part = range.clamped(to: slice)
      if part.isEmpty { continue }
      let squares = worker.compute.squaredNorms(memory.trained[range])
      let size = Float((squares.reduce(0, +) / Double(parameter.count)).squareRoot())
      for index in part { target.base[index - slice.lowerBound] *= size }
    }
    // Padding between tensors stays what it is.
    var end = 0
    for parameter in trainedParameters.sorted(by: { $0.offset < $1.offset }) {
      for index in (end..<max(end, parameter.offset)).clamped(to: slice) {
        target.base[index - slice.lowerBound] = 0
      }
      end = parameter.offset + parameter.count
    }
  }

  /// Moves every weight by a keyed normal number times `size` and its tensor's root mean square.
  func displaceWeights(
    by size: Double, communicator: borrowing Communicator
  ) throws {
    let slice = optimizer.slice
    let direction = FloatBuffer(count: slice.count)
    fillRelativeNormal(direction, key: 0)
    // Others still read the sizes of the tensors.
    try communicator.barrier()
    worker.compute.displace(trainedSlice, by: Float(size), along: direction.base)
    try publishWeights()
    try publishRemainders()
  }
}
