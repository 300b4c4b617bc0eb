// swift-tools-version: 6.2

import PackageDescription

// Kernels want two flags (measured, see docs/decisions/0001-foundations.md): AVX2 and FMA for every
// loop, and square roots that don't stop to set errno. They make Sail a root package, which an
// application is anyway.
let kernelFlags: SwiftSetting = .unsafeFlags([
  "-Xcc", "-march=x86-64-v3", "-Xcc", "-fno-math-errno",
])
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let package = Package(
  name: "sail",
  products: [.executable(name: "sail", targets: ["sail"])],
  traits: [
    // Off (--disable-default-traits): no oneDNN is needed, every product runs on OpenBLAS in f32.
    .trait(name: "OneDNN", description: "Matrix products on oneDNN where it is invariant."),
    .default(enabledTraits: ["OneDNN"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .systemLibrary(name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CDNNL", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
    .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
    .systemLibrary(name: "CPlatform"),
    .target(name: "CStopRequest"),
    .target(name: "CChildProcess"),
    .target(name: "CTiles"),
    .target(name: "CDots"),

    .target(name: "JSONText", dependencies: ["CJansson"], swiftSettings: strict),
    .target(
      name: "Tensor",
      dependencies: [
        "COpenBLAS", "CPlatform", "CTiles", "CDots",
        .target(name: "CDNNL", condition: .when(traits: ["OneDNN"])),
      ],
      swiftSettings: strict + [kernelFlags]),
    .target(
      name: "Model", dependencies: ["Tensor", "JSONText"], swiftSettings: strict + [kernelFlags]),
    .target(name: "Tokenizer", dependencies: ["JSONText"], swiftSettings: strict),
    .target(
      name: "Checkpoint", dependencies: ["JSONText", "CZstd", "CZlib", "CXXHash"],
      swiftSettings: strict),
    .target(name: "Comm", dependencies: ["CMPI"], swiftSettings: strict),
    .target(
      name: "Worker",
      dependencies: ["CChildProcess", "Tensor", "Model", "Tokenizer", "JSONText"],
      swiftSettings: strict),
    .target(
      name: "Synthetic", dependencies: ["Tensor", "Tokenizer", "JSONText"], swiftSettings: strict),
    .target(
      name: "Coordinator",
      dependencies: [
        "Worker", "Model", "Tensor", "Tokenizer", "Checkpoint", "Comm", "JSONText", "Synthetic",
        "CStopRequest", "Yams",
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "sail",
      dependencies: [
        "Coordinator", "Comm",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .executableTarget(name: "comm-check", dependencies: ["Comm"], swiftSettings: strict),

    .testTarget(name: "TensorTests", dependencies: ["Tensor"]),
    .testTarget(name: "ModelTests", dependencies: ["Model", "Tensor", "JSONText"]),
    .testTarget(name: "TokenizerTests", dependencies: ["Tokenizer", "JSONText"]),
    .testTarget(name: "CheckpointTests", dependencies: ["Checkpoint", "CZlib", "CZstd"]),
    .testTarget(name: "CommTests", dependencies: ["comm-check"]),
    .testTarget(
      name: "WorkerTests", dependencies: ["Worker", "Model", "Tensor", "Checkpoint", "JSONText"]),
    .testTarget(name: "SyntheticTests", dependencies: ["Synthetic"]),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: ["Coordinator", "Worker", "Model", "Tensor", "Tokenizer", "JSONText"]),
    .testTarget(name: "EndToEndTests", dependencies: ["sail", "JSONText"]),
  ],
  swiftLanguageModes: [.v6]
)
