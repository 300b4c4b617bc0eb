#if OneDNN
  import CDNNL
  import Glibc

  /// oneDNN's engine and stream for one thread.
  final class OneDNN {
    let engine: dnnl_engine_t
    let stream: dnnl_stream_t

    init?() {
      _ = OneDNN.limitsInstructions
      var engine: dnnl_engine_t?
      var stream: dnnl_stream_t?
      guard dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success, let engine,
        dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue))
          == dnnl_success, let stream
      else { return nil }
      self.engine = engine
      self.stream = stream
    }

    deinit {
      dnnl_stream_destroy(stream)
      dnnl_engine_destroy(engine)
    }
  }

  /// One product shape as a oneDNN matmul primitive, for the thread that made it only.
  final class OneDNNProduct {
    private let oneDNN: OneDNN
    private let primitive: dnnl_primitive_t
    private let memories: [dnnl_memory_t]
    private let scratch: UnsafeMutableRawPointer?
    private let arguments: UnsafeMutablePointer<dnnl_exec_arg_t>
    private let argumentCount: Int
    /// Whether bf16 operands are multiplied as such, not widened first.
    let usesBF16Instructions: Bool

    /// Nil unless oneDNN implements the shape with a `brg` kernel.
    init?(_ shape: ProductShape, on oneDNN: OneDNN) {
      let m = Int64(shape.rows)
      let n = Int64(shape.columns)
      let k = Int64(shape.inner)
      let operandType = shape.precision == .f32 ? dnnl_f32 : dnnl_bf16
      let resultType = shape.result == .f32 ? dnnl_f32 : dnnl_bf16
      var source = dnnl_memory_desc_t()
      var weights = dnnl_memory_desc_t()
      var destination = dnnl_memory_desc_t()
      guard
        dnnl_memory_desc_init_by_strides(
          &source, 2, [m, k], operandType, shape.transposesA ? [1, m] : [k, 1]) == dnnl_success,
        dnnl_memory_desc_init_by_strides(
          &weights, 2, [k, n], operandType, shape.transposesB ? [1, k] : [n, 1]) == dnnl_success,
        dnnl_memory_desc_init_by_strides(&destination, 2, [m, n], resultType, [n, 1])
          == dnnl_success
      else { return nil }

      var attributes: dnnl_primitive_attr_t?
      guard dnnl_primitive_attr_create(&attributes) == dnnl_success, let attributes else {
        return nil
      }
      defer { dnnl_primitive_attr_destroy(attributes) }
      dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user)
      if shape.accumulates {
        var operations: dnnl_post_ops_t?
        guard dnnl_post_ops_create(&operations) == dnnl_success, let operations else { return nil }
        defer { dnnl_post_ops_destroy(operations) }
        dnnl_post_ops_append_sum(operations, 1)
        dnnl_primitive_attr_set_post_ops(attributes, operations)
      }

      var operation = dnnl_matmul_desc_t()
      var description: dnnl_primitive_desc_t?
      guard
        dnnl_matmul_desc_init(&operation, &source, &weights, nil, &destination) == dnnl_success,
        dnnl_primitive_desc_create(&description, &operation, attributes, oneDNN.engine, nil)
          == dnnl_success, let description
      else { return nil }
      defer { dnnl_primitive_desc_destroy(description) }
      var name: UnsafePointer<CChar>?
      dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name)
      guard let name else { return nil }
      let implementation = String(cString: name)
      guard implementation.hasPrefix("brg") else { return nil }
      usesBF16Instructions =
        ["avx512_core_bf16", "avx512_core_amx"].contains { implementation.contains($0) }

      var primitive: dnnl_primitive_t?
      guard dnnl_primitive_create(&primitive, description) == dnnl_success, let primitive else {
        return nil
      }
      let scratchDescription = dnnl_primitive_desc_query_md(
        description, dnnl_query_scratchpad_md, 0)
      let scratchBytes = scratchDescription.map { dnnl_memory_desc_get_size($0) } ?? 0
      scratch = scratchBytes > 0 ? aligned_alloc(64, (Int(scratchBytes) + 63) / 64 * 64) : nil

      var memories: [dnnl_memory_t] = []
      for descriptor in [source, weights, destination] {
        var copy = descriptor
        var memory: dnnl_memory_t?
        dnnl_memory_create(&memory, &copy, oneDNN.engine, nil)
        if let memory { memories.append(memory) }
      }
      if let scratch, let scratchDescription {
        var memory: dnnl_memory_t?
        dnnl_memory_create(&memory, scratchDescription, oneDNN.engine, scratch)
        if let memory { memories.append(memory) }
      }
      let names = [DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD]
      argumentCount = memories.count
      arguments = .allocate(capacity: 4)
      for (index, memory) in memories.enumerated() {
        (arguments + index).initialize(
          to: dnnl_exec_arg_t(arg: Int32(names[index]), memory: memory))
      }
      self.oneDNN = oneDNN
      self.primitive = primitive
      self.memories = memories
    }

    deinit {
      for memory in memories { dnnl_memory_destroy(memory) }
      dnnl_primitive_destroy(primitive)
      arguments.deallocate()
      free(scratch)
    }

    func execute(
      _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ c: UnsafeMutableRawPointer
    ) {
      dnnl_memory_set_data_handle(memories[0], UnsafeMutableRawPointer(mutating: a))
      dnnl_memory_set_data_handle(memories[1], UnsafeMutableRawPointer(mutating: b))
      dnnl_memory_set_data_handle(memories[2], c)
      let status = dnnl_primitive_execute(
        primitive, oneDNN.stream, Int32(argumentCount), arguments)
      precondition(status == dnnl_success)
    }
  }
#endif
