import Testing

/// The built `sail`, alone and under mpirun, one test at a time.
///
/// A run takes a second or two on two free cores; the limits leave room for a busy machine.
@Suite(.serialized, .timeLimit(.minutes(10)))
enum EndToEndTests {}
