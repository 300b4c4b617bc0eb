#if OneDNN
  import CDNNL
  import CPlatform
  import Glibc

  extension OneDNN {
    /// Keeps oneDNN off AMX where a hypervisor hides the tiles' layout; once, before its first primitive.
    ///
    /// oneDNN (seen with 2.6) then configures tiles of no size, and the first product ends the program
    /// with SIGILL. AVX-512's bf16 instructions serve instead. A limit that the user set for the library
    /// stays as it is.
    static let limitsInstructions: Bool = {
      let names = ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"]
      guard sail_hides_amx_tiles() != 0, names.allSatisfy({ getenv($0) == nil }) else {
        return false
      }
      return dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16) == dnnl_success
    }()
  }
#endif
