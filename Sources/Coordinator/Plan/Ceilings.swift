import Checkpoint
import Foundation
import JSONText
import Tensor

/// What a node was measured to reach, or is taken to reach: rates of products and of memory.
struct Ceilings: Equatable {
  /// The rate of one product.
  struct Product: Equatable {
    var kind: MeasuredProduct
    /// "f32" or "bf16".
    var type: String
    var rows: Int
    var columns: Int
    var inner: Int
    /// Threads of the node that did such products at once.
    var threads: Int
    /// Floating-point operations of all of them together.
    var rate: MeasuredRate
  }

  /// The rate of a way through memory.
  struct Access: Equatable {
    var access: MemoryAccess
    var threads: Int
    /// Bytes of all threads together.
    var rate: MeasuredRate
  }

  var host: String
  var cpu: String
  /// Threads of the node, over all its ranks.
  var threads: Int
  var kernels: String
  var products: [Product] = []
  var accesses: [Access] = []
  /// Bytes of gradients a second in the ordered sum, nil if one rank measured.
  var sumRate: Double?

  /// What a file of another form than this is refused by.
  static let version = 2
}

extension MeasuredRate {
  /// A rate that is reached in every round.
  init(always rate: Double) { self.init(best: rate, typical: rate) }
}

extension Ceilings {
  /// The file's content.
  var json: JSON {
    var members: [JSON.Member] = [
      .init(key: "version", value: .integer(Int64(Ceilings.version))),
      .init(key: "host", value: .string(host)), .init(key: "cpu", value: .string(cpu)),
      .init(key: "threads", value: .integer(Int64(threads))),
      .init(key: "kernels", value: .string(kernels)),
      .init(
        key: "products",
        value: .array(
          products.map { product in
            [
              "product": .string(product.kind.rawValue), "type": .string(product.type),
              "rows": .integer(Int64(product.rows)),
              "columns": .integer(Int64(product.columns)),
              "inner": .integer(Int64(product.inner)),
              "threads": .integer(Int64(product.threads)),
              "gigaflops": .number(rounded(product.rate.best)),
              "typical_gigaflops": .number(rounded(product.rate.typical)),
            ]
          })),
      .init(
        key: "memory",
        value: .array(
          accesses.map { access in
            [
              "access": .string(access.access.rawValue),
              "threads": .integer(Int64(access.threads)),
              "gigabytes_per_second": .number(rounded(access.rate.best)),
              "typical_gigabytes_per_second": .number(rounded(access.rate.typical)),
            ]
          })),
    ]
    if let sumRate {
      members.append(
        .init(key: "gradient_sum_gigabytes_per_second", value: .number(rounded(sumRate))))
    }
    return .object(members)
  }

  /// Reads the file's content.
  ///
  /// - Throws: `ConfigurationError` with the file and what is wrong with it.
  init(_ json: JSON, file: String) throws(ConfigurationError) {
    func refuse(_ reason: String) -> ConfigurationError {
      ConfigurationError(file, "\(reason); measure anew with `sail doctor`")
    }
    guard let version = json["version"]?.integer else {
      throw refuse("expected the ceilings that `sail doctor` writes, found no version")
    }
    guard version == Ceilings.version else {
      throw refuse("expected ceilings of version \(Ceilings.version), found \(version)")
    }
    guard let host = json["host"]?.string, let cpu = json["cpu"]?.string,
      let threads = json["threads"]?.integer, threads > 0,
      let kernels = json["kernels"]?.string, let products = json["products"]?.elements,
      let accesses = json["memory"]?.elements
    else { throw refuse("host, cpu, threads, kernels, products or memory is missing") }
    self.init(host: host, cpu: cpu, threads: threads, kernels: kernels)
    for product in products {
      guard let kind = product["product"]?.string.flatMap({ MeasuredProduct(rawValue: $0) }),
        let type = product["type"]?.string, let rows = positive(product["rows"]),
        let columns = positive(product["columns"]), let inner = positive(product["inner"]),
        let threads = positive(product["threads"]), let best = rate(product["gigaflops"]),
        let typical = rate(product["typical_gigaflops"])
      else { throw refuse("a product is damaged: \(product.text)") }
      self.products.append(
        Product(
          kind: kind, type: type, rows: rows, columns: columns, inner: inner, threads: threads,
          rate: MeasuredRate(best: best, typical: typical)))
    }
    for access in accesses {
      guard let kind = access["access"]?.string.flatMap({ MemoryAccess(rawValue: $0) }),
        let threads = positive(access["threads"]),
        let best = rate(access["gigabytes_per_second"]),
        let typical = rate(access["typical_gigabytes_per_second"])
      else { throw refuse("an access to memory is damaged: \(access.text)") }
      self.accesses.append(
        Access(
          access: kind, threads: threads, rate: MeasuredRate(best: best, typical: typical)))
    }
    if let sum = json["gradient_sum_gigabytes_per_second"] {
      guard let rate = rate(sum) else { throw refuse("the gradient sum is damaged: \(sum.text)") }
      sumRate = rate
    }
  }
}

/// In billions, to four digits.
private func rounded(_ rate: Double) -> Double {
  Double(String(format: "%.4g", rate / 1e9)) ?? rate / 1e9
}

private func positive(_ json: JSON?) -> Int? {
  json?.integer.flatMap { $0 > 0 && $0 < 1 << 40 ? $0 : nil }
}

private func rate(_ json: JSON?) -> Double? {
  // Beyond what any machine reaches, sums and quotients of rates are no numbers any more.
  json?.number.flatMap { 1e-6...1e9 ~= $0 ? $0 * 1e9 : nil }
}

extension Ceilings {
  /// The folder that holds ceilings: `sail` in the user's cache folder; nil if the user has none.
  static func folder(environment: [String: String]) -> String? {
    // The XDG base directory specification: a relative path is to be ignored.
    if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") { return cache + "/sail" }
    guard let home = environment["HOME"], home.hasPrefix("/") else { return nil }
    return home + "/.cache/sail"
  }

  /// The name of a machine's file.
  static func fileName(host: String, cpu: String) -> String {
    func part(_ text: String) -> String {
      text.split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }.joined(separator: "-")
    }
    return "ceilings-\(part(host))-\(part(cpu)).json"
  }

  /// Writes the file, whole or not at all, and answers its path.
  func save(in folder: String) throws -> String {
    let path = folder + "/" + Ceilings.fileName(host: host, cpu: cpu)
    try makeFolder(folder)
    try writeFileAtomically(Array((json.indentedText + "\n").utf8), path: path)
    return path
  }

  /// The ceilings in a file, or those of the first node in what `sail doctor --json` writes.
  ///
  /// - Throws: `ConfigurationError` or `DataError` naming the file.
  static func load(_ path: String) throws -> Ceilings {
    let json = try parseJSON(try readFile(path, what: "ceilings"), source: path)
    return try Ceilings(json["nodes"]?.elements?.first?["ceilings"] ?? json, file: path)
  }

  /// The ceilings that `sail doctor` kept of this machine, nil if there are none of use.
  ///
  /// - Parameters:
  ///   - environment: says where they are kept.
  ///   - notes: gets why a file that is there can't be used; nobody asked for it, so that is no error.
  /// - Returns: the ceilings.
  static func kept(environment: [String: String], notes: inout [String]) -> Ceilings? {
    let machine = Machine.identity
    guard let folder = folder(environment: environment) else { return nil }
    let file = folder + "/" + fileName(host: machine.host, cpu: machine.cpu)
    guard FileManager.default.fileExists(atPath: file) else { return nil }
    do {
      return try load(file)
    } catch {
      notes.append("\(error)")
      return nil
    }
  }
}
