import JSONText

/// A tensor of a safetensors file as its header describes it.
public struct StoredTensor: Sendable {
  /// The name, its scalars exactly as written.
  public let name: String
  /// The shape; empty for a single number.
  public let shape: [Int]
  /// The type as written in the file, such as "F32", "BF16" or "I64".
  public let storedType: String
  /// The bytes it takes.
  public let byteCount: Int
  /// The file's position among those of the folder.
  let file: Int
  /// The first byte's position in the file.
  let offset: Int

  /// The type if it is one that can be read, else nil.
  public var numberType: NumberType? { NumberType(rawValue: storedType) }
}

/// The longest header that safetensors readers accept.
let longestHeaderBytes = 100_000_000

/// Reads and validates the header of a safetensors file; tensors in the order of their bytes.
///
/// Format: 8 bytes of little-endian header length, the header (a JSON object, padded with blanks),
/// then the tensors' bytes without holes or overlaps. https://github.com/huggingface/safetensors
func readSafetensorsHeader(path: String, file: Int) throws(CheckpointError) -> [StoredTensor] {
  let input = try InputFile(path: path)
  func refuse(_ reason: String) -> CheckpointError {
    CheckpointError("\(quoted(path)) is not a whole safetensors file: \(reason)")
  }
  guard input.size >= 8 else {
    throw refuse("it has \(input.size) bytes, expected at least 8")
  }
  var length: UInt64 = 0
  for byte in try input.bytes(count: 8, at: 0).reversed() { length = length << 8 | UInt64(byte) }
  guard length <= longestHeaderBytes else {
    throw refuse("header length \(length), expected at most \(longestHeaderBytes)")
  }
  guard length <= input.size - 8 else {
    throw refuse("header length \(length), but only \(input.size - 8) bytes follow")
  }
  let headerBytes = try input.bytes(count: Int(length), at: 8)
  guard headerBytes.first == UInt8(ascii: "{") else {
    throw refuse("its header does not begin with {")
  }
  let header: JSON
  do throws(JSONError) { header = try JSON(parsing: headerBytes) } catch {
    throw refuse("its header is \(error.description)")
  }
  let dataStart = 8 + Int(length)
  let dataBytes = input.size - dataStart

  var tensors: [StoredTensor] = []
  for member in header.members ?? [] {
    if member.key.utf8.elementsEqual("__metadata__".utf8) {
      guard let metadata = member.value.members, metadata.allSatisfy({ $0.value.string != nil })
      else { throw refuse("__metadata__ is not an object of strings") }
      continue
    }
    let (range, description) = try described(member, dataBytes: dataBytes, refuse: refuse)
    tensors.append(
      StoredTensor(
        name: member.key, shape: description.shape, storedType: description.type,
        byteCount: range.count, file: file, offset: dataStart + range.lowerBound))
  }
  // Empty tensors come before the one that begins at the same byte.
  tensors.sort { left, right in
    if left.offset != right.offset { return left.offset < right.offset }
    if left.byteCount != right.byteCount { return left.byteCount < right.byteCount }
    return precedes(left.name, right.name)
  }
  var end = dataStart
  for tensor in tensors {
    guard tensor.offset == end else {
      throw refuse(
        "tensor \(quoted(tensor.name)) begins at byte \(tensor.offset - dataStart) of the data, "
          + "expected \(end - dataStart): tensors \(tensor.offset < end ? "overlap" : "leave a hole")"
      )
    }
    end += tensor.byteCount
  }
  guard end == input.size else {
    throw refuse("its tensors take \(end - dataStart) bytes, but \(dataBytes) follow the header")
  }
  return tensors
}

/// The bytes, shape and type of one member of a header, checked against each other.
private func described(
  _ member: JSON.Member, dataBytes: Int, refuse: (String) -> CheckpointError
) throws(CheckpointError) -> (Range<Int>, (shape: [Int], type: String)) {
  let name = "tensor \(quoted(member.key))"
  guard let type = member.value["dtype"]?.string else {
    throw refuse("\(name) has no string \"dtype\"")
  }
  guard let bitCount = bitCount(ofStoredType: type) else {
    throw refuse("\(name) has unknown dtype \(quoted(type))")
  }
  guard let shape = integers(member.value["shape"]), shape.allSatisfy({ $0 >= 0 }) else {
    throw refuse("\(name) has no \"shape\" of integers that are 0 or more")
  }
  guard let offsets = integers(member.value["data_offsets"]), offsets.count == 2,
    0 <= offsets[0], offsets[0] <= offsets[1]
  else { throw refuse("\(name) has no \"data_offsets\" of two ascending positions") }
  guard offsets[1] <= dataBytes else {
    throw refuse("\(name) ends at byte \(offsets[1]) of \(dataBytes) bytes of data")
  }
  guard let count = elementCount(shape),
    case let (bits, isOverflow) =
      count.multipliedReportingOverflow(by: bitCount), !isOverflow
  else { throw refuse("\(name) has an impossible shape \(clipped(shape))") }
  guard bits % 8 == 0, bits / 8 == offsets[1] - offsets[0] else {
    throw refuse(
      "\(name), shape \(clipped(shape)) of \(type), needs \(bits / 8) bytes, "
        + "but its data_offsets span \(offsets[1] - offsets[0])")
  }
  return (offsets[0]..<offsets[1], (shape, type))
}

/// The integers of a JSON array, nil if it is none or holds anything else.
private func integers(_ value: JSON?) -> [Int]? {
  guard let elements = value?.elements else { return nil }
  let integers = elements.compactMap(\.integer)
  return integers.count == elements.count ? integers : nil
}

/// A shape for a message, at most eight numbers of it.
func clipped(_ shape: [Int]) -> String {
  shape.count <= 8 ? "\(shape)" : "\(shape.prefix(8)) and \(shape.count - 8) more"
}

/// The bits of one number of a type that the format knows, nil for unknown names.
private func bitCount(ofStoredType type: String) -> Int? {
  switch type {
  case "F4": 4
  case "F6_E2M3", "F6_E3M2": 6
  case "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ": 8
  case "I16", "U16", "F16", "BF16": 16
  case "I32", "U32", "F32": 32
  case "I64", "U64", "F64", "C64": 64
  default: nil
  }
}
