import CPlatform
import Glibc
import Synchronization

/// Threads that run the parts of one operation; the only threads of a rank that compute.
///
/// A hand-off costs 0.1 µs while the workers spin. They spin for about 0.2 ms after a job, then
/// park. Results never depend on the number of threads: callers cut work into parts that do not
/// share sums.
public final class ThreadPool: @unchecked Sendable {
  /// Number of threads, the caller's included.
  public let threadCount: Int

  private typealias Body = (_ task: Int, _ thread: Int) -> Void
  private let generation = Atomic<Int>(0)
  private let nextTask = Atomic<Int>(0)
  private let busyWorkers = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  // Written by the caller before `generation` is raised, read by the workers after it.
  private var body: Body?
  private var taskCount = 0
  private var threads: [pthread_t] = []
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let onThreadStart: () -> Void

  /// Starts `threadCount − 1` workers; `onThreadStart` runs once on each thread, the caller's too.
  public init(threadCount: Int, onThreadStart: @escaping @Sendable () -> Void = {}) {
    precondition(threadCount >= 1)
    self.threadCount = threadCount
    self.onThreadStart = onThreadStart
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    onThreadStart()
    for index in 1..<max(1, threadCount) {
      let start = Unmanaged.passRetained(ThreadStart(pool: self, index: index))
      var thread = pthread_t()
      let code = pthread_create(
        &thread, nil,
        { argument in
          guard let argument else { return nil }
          let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
          start.pool.work(thread: start.index)
          return nil
        }, start.toOpaque())
      precondition(code == 0, "pthread_create failed")
      threads.append(thread)
    }
  }

  /// Ends the workers; the pool must not be used afterwards.
  public func shutDown() {
    stopping.store(true, ordering: .sequentiallyConsistent)
    generation.add(1, ordering: .sequentiallyConsistent)
    wakeSleepers()
    for thread in threads { pthread_join(thread, nil) }
    threads = []
  }

  /// Runs `body` for every task in 0..<count, on any thread, and returns when all are done.
  ///
  /// `thread` in 0..<threadCount tells which thread runs the task, for scratch memory.
  public func run(_ count: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
    if threads.isEmpty || count <= 1 {
      for task in 0..<count { body(task, 0) }
      return
    }
    withoutActuallyEscaping(body) { escapable in
      self.body = escapable
      taskCount = count
      nextTask.store(0, ordering: .relaxed)
      busyWorkers.store(threads.count, ordering: .relaxed)
      generation.add(1, ordering: .sequentiallyConsistent)
      if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeSleepers() }
      takeTasks(escapable, count: count, thread: 0)
      var spinCount = 0
      while busyWorkers.load(ordering: .acquiring) > 0 { wait(&spinCount) }
      self.body = nil
    }
  }

  /// Runs `body` for contiguous parts of 0..<count, one a thread, each a multiple of `multiple` long.
  ///
  /// Only for work in which an item's result does not depend on the part it is in.
  public func forEachPart(
    of count: Int, multiple: Int = 1, _ body: (_ part: Range<Int>, _ thread: Int) -> Void
  ) {
    let perThread = (count + threadCount - 1) / threadCount
    let size = max(1, (perThread + multiple - 1) / multiple * multiple)
    run((count + size - 1) / size) { task, thread in
      body(task * size..<min(count, (task + 1) * size), thread)
    }
  }

  private func takeTasks(_ body: Body, count: Int, thread: Int) {
    while true {
      let task = nextTask.add(1, ordering: .relaxed).oldValue
      if task >= count { return }
      body(task, thread)
    }
  }

  private func work(thread: Int) {
    onThreadStart()
    var seen = 0
    while true {
      waitForJob(after: seen)
      seen += 1
      if stopping.load(ordering: .acquiring) { return }
      if let body { takeTasks(body, count: taskCount, thread: thread) }
      busyWorkers.subtract(1, ordering: .releasing)
    }
  }

  private func waitForJob(after seen: Int) {
    var spinCount = 0
    while spinCount < 20_000 {
      if generation.load(ordering: .acquiring) > seen { return }
      wait(&spinCount)
    }
    pthread_mutex_lock(mutex)
    sleepers.add(1, ordering: .sequentiallyConsistent)
    while generation.load(ordering: .sequentiallyConsistent) <= seen {
      pthread_cond_wait(wake, mutex)
    }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(mutex)
  }

  /// Waits a moment; after some moments it lets others have the CPU.
  ///
  /// With more threads than CPUs, the thread waited for may need the very CPU of the one that waits.
  private func wait(_ spinCount: inout Int) {
    spinCount += 1
    if spinCount < 200 || spinCount % 16 != 0 { sail_pause() } else { sched_yield() }
  }

  private func wakeSleepers() {
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
  }
}

private final class ThreadStart {
  let pool: ThreadPool
  let index: Int

  init(pool: ThreadPool, index: Int) {
    self.pool = pool
    self.index = index
  }
}
