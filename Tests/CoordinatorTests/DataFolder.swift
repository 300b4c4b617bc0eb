import Foundation

@testable import Coordinator

/// A folder of one test.
struct DataFolder {
  let path: String

  /// Writes a file and answers its path.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String {
    let file = "\(path)/\(name)"
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    return file
  }
}

/// Runs a test's body with a folder of its own, which is gone afterwards.
func withDataFolder(_ body: (DataFolder) throws -> Void) throws {
  let url = FileManager.default.temporaryDirectory
    .appendingPathComponent("sail-data-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: url) }
  try body(DataFolder(path: url.path))
}

/// The path of a file of Tests/Fixtures.
func fixturePath(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/\(name)").path
}
