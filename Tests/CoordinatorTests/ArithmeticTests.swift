import Foundation
import JSONText
import Testing

@testable import Coordinator

@Suite struct ArithmeticTests {
  private static let own = Arithmetic(
    kernels: "oneDNN brg, bf16 on AMX tiles", build: "sail 1 abc", libraries: "oneDNN 2.6",
    processor: "a CPU avx", environment: "")

  private func changed(_ change: (inout Arithmetic) -> Void) -> Arithmetic {
    var other = Self.own
    change(&other)
    return other
  }

  @Test func differencesAreNamed() {
    let cases: [(Arithmetic, String)] = [
      (Self.own, ""),
      (
        changed { $0.kernels = "oneDNN brg" },
        "kernels (oneDNN brg, bf16 on AMX tiles; oneDNN brg)"
      ),
      (changed { $0.build = "sail 1 abd" }, "builds of sail"),
      (changed { $0.libraries = "oneDNN 3" }, "libraries (oneDNN 2.6; oneDNN 3)"),
      (changed { $0.processor = "a CPU" }, "types of CPU"),
      (changed { $0.environment = "A=1" }, "environments (none; A=1)"),
      (
        changed {
          $0.build = "sail 2"
          $0.processor = ""
        }, "builds of sail, types of CPU"
      ),
    ]
    for (other, expected) in cases {
      #expect(Arithmetic.differences([Self.own], [other]) == expected)
      #expect((other.text == Self.own.text) == expected.isEmpty)
    }
    let mixed = [Self.own, changed { $0.kernels = "oneDNN brg" }]
    #expect(
      Arithmetic.differences(mixed, [Self.own])
        == "kernels (oneDNN brg and oneDNN brg, bf16 on AMX tiles; oneDNN brg, bf16 on AMX tiles)")
  }

  @Test func otherCombinationsAreNamed() {
    func kind(_ kernels: String, _ build: String) -> Arithmetic {
      changed {
        $0.kernels = kernels
        $0.build = build
      }
    }
    #expect(
      Arithmetic.differences([kind("a", "1"), kind("b", "2")], [kind("a", "2"), kind("b", "1")])
        == "combinations of kernels, builds, libraries and types of CPU")
  }

  @Test func itsJSONIsReadBack() throws {
    #expect(Arithmetic(try JSON(parsing: Array(Self.own.json.text.utf8))) == Self.own)
    for member in Self.own.json.members ?? [] {
      let rest = (Self.own.json.members ?? []).filter { $0.key != member.key }
      #expect(Arithmetic(.object(rest)) == nil, "\(member.key)")
    }
  }
}
