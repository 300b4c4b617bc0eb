import Foundation
import JSONText

/// The f32 tensors of a safetensors file, or of a model folder's weights, read without Sail's own reader.
struct Tensors {
  private(set) var tensors: [(name: String, values: [Float])] = []

  init(_ path: String) throws {
    var isFolder: ObjCBool = false
    _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    let files =
      isFolder.boolValue
      ? try FileManager.default.contentsOfDirectory(atPath: path)
        .filter { $0.hasPrefix("model") && $0.hasSuffix(".safetensors") }.sorted()
        .map { "\(path)/\($0)" } : [path]
    for file in files { try read(file) }
    tensors.sort { $0.name < $1.name }
  }

  private mutating func read(_ file: String) throws {
    let bytes = try fileBytes(file)
    let start = 8 + bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    for member in try JSON(parsing: Array(bytes[8..<start])).members ?? []
    where member.key != "__metadata__" {
      let ends = try member.value.list("data_offsets").compactMap(\.integer)
      guard member.value["dtype"]?.string == "F32", ends.count == 2 else {
        throw JobError(description: "\(file): \(member.key) is not f32")
      }
      let values = bytes[start + ends[0]..<start + ends[1]].withUnsafeBytes { data in
        (0..<data.count / 4).map { data.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
      }
      tensors.append((member.key, values))
    }
  }

  var names: [String] { tensors.map(\.name) }

  /// Values minus those of another file with the same tensors.
  func minus(_ other: Tensors) throws -> Tensors {
    guard names == other.names else {
      throw JobError(description: "different tensors: \(names) and \(other.names)")
    }
    var result = self
    for index in tensors.indices {
      let (mine, theirs) = (tensors[index].values, other.tensors[index].values)
      guard mine.count == theirs.count else {
        throw JobError(description: "\(tensors[index].name) has another size")
      }
      result.tensors[index].values = zip(mine, theirs).map { $0 - $1 }
    }
    return result
  }

  /// The Euclidean norm of each tensor.
  var norms: [Double] {
    tensors.map { $0.values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
  }

  /// The Euclidean norm of all of them.
  var norm: Double { norms.reduce(0) { $0 + $1 * $1 }.squareRoot() }
}
