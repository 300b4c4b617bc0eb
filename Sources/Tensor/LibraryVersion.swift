import COpenBLAS

#if OneDNN
  import CDNNL
#endif

/// Versions of the libraries that do matrix products.
public var libraryVersion: String {
  let blas = String(cString: openblas_get_config()).split(separator: " ").prefix(2)
    .joined(separator: " ")
  #if OneDNN
    guard let version = dnnl_version()?.pointee else { return blas }
    return "oneDNN \(version.major).\(version.minor).\(version.patch), \(blas)"
  #else
    return blas
  #endif
}
