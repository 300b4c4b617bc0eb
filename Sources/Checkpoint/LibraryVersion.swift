import CZstd

/// Version of the compression library.
public var libraryVersion: String { "zstd \(String(cString: ZSTD_versionString()))" }
