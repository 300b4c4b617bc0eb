import Testing

@testable import Coordinator

@Suite struct PathPartsTests {
  @Test(arguments: [
    ("e", "", "e"), ("out", "", "out"), ("runs/name", "runs", "name"),
    ("runs/name/", "runs", "name"),
    ("/tmp", "/", "tmp"), ("/tmp//a", "/tmp", "a"), ("./a/b", "./a", "b"), ("/", "/", ""),
    ("", "", ""), ("//", "/", ""), ("ö/ü", "ö", "ü"),
  ])
  func folderAndName(_ path: String, _ folder: String, _ name: String) {
    let parts = PathParts(path)
    #expect(parts.folder == folder && parts.name == name, "\(parts)")
  }
}
