import Checkpoint
import Foundation
import JSONText
import Model
import Tensor
import Testing

/// The path of Tests/Fixtures/models.
let fixtureModels = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().appendingPathComponent("Fixtures/models").path

/// JSON of a file.
func json(_ path: String) throws -> JSON {
  try JSON(parsing: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))))
}

/// JSON of a text.
func parsed(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

/// A fixture folder's model in memory.
final class LoadedWeights {
  let table: ParameterTable
  let weights: DecoderWeights
  private let buffer: FloatBuffer

  init(_ folder: String) throws {
    let configuration = try DecoderConfiguration(
      json: try json(folder + "/config.json"), source: folder)
    table = ParameterTable(configuration)
    buffer = try Self.read(folder, stem: "model", table: table)
    weights = DecoderWeights(configuration: configuration, table: table, base: buffer.base)
  }

  /// Tensors of a file or folder in the table's places.
  static func read(_ folder: String, stem: String, table: ParameterTable) throws -> FloatBuffer {
    let buffer = FloatBuffer(count: table.floatCount)
    try SafetensorsFolder(path: folder, stem: stem).read(
      table.parameters.map {
        TensorPlacement(name: $0.name, shape: $0.shape, offset: $0.offset)
      }, into: UnsafeMutableBufferPointer(start: buffer.base, count: buffer.count))
    return buffer
  }
}

/// Expects that one SGD step changes the weights as a fixture says: after − before = −rate × gradient.
///
/// f32 against f32; most of the tolerance is the rounding of after − before in the fixture.
func expectUpdate(
  _ gradient: FloatBuffer, rate: Double, isThatOf name: String, folder: String,
  table: ParameterTable
) throws {
  let expected = try LoadedWeights.read(folder, stem: name, table: table)
  var whole = (difference: 0.0, expected: 0.0)
  for parameter in table.parameters {
    var part = (difference: 0.0, expected: 0.0)
    for index in parameter.offset..<parameter.offset + parameter.count {
      let wanted = Double(expected.base[index])
      let found = -rate * Double(gradient.base[index])
      part.difference += (found - wanted) * (found - wanted)
      part.expected += wanted * wanted
    }
    whole.difference += part.difference
    whole.expected += part.expected
    #expect(
      part.difference.squareRoot() <= 1e-3 * part.expected.squareRoot(), "\(parameter.name)")
  }
  #expect(whole.expected > 0)
  #expect((whole.difference / whole.expected).squareRoot() <= 1e-4)
}
