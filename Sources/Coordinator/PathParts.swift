/// The folder that a path lies in and its last name.
///
/// By hand, as Foundation's `deletingLastPathComponent` and `lastPathComponent` trap on a path of one
/// letter (Swift 6.2 on Linux).
struct PathParts: Equatable {
  /// The folder, without a slash at its end; "" for a name alone, "/" for one in the root.
  var folder: String
  /// The last name; slashes at the end are left out.
  var name: String

  /// The parts of a path.
  init(_ path: String) {
    func trimmed(_ text: Substring) -> Substring {
      var text = text
      while text.count > 1, text.hasSuffix("/") { text = text.dropLast() }
      return text
    }
    let whole = trimmed(path[...])
    guard let slash = whole.lastIndex(of: "/") else {
      (folder, name) = ("", String(whole))
      return
    }
    name = String(whole[whole.index(after: slash)...])
    folder = slash == whole.startIndex ? "/" : String(trimmed(whole[..<slash]))
  }
}
