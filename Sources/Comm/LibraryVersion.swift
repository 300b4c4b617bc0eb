import CMPI

/// Version of the MPI library, its first words.
public var libraryVersion: String {
  var buffer = [CChar](repeating: 0, count: Int(sail_mpi_max_library_version_string()))
  var length: Int32 = 0
  guard MPI_Get_library_version(&buffer, &length) == MPI_SUCCESS else { return "MPI" }
  let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  return String(decoding: bytes.prefix { $0 != UInt8(ascii: ",") }, as: UTF8.self)
}
