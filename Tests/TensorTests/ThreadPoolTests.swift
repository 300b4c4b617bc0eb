import Glibc
import Synchronization
import Tensor
import Testing

/// Counts of what happened, written by several threads.
private final class Counts: Sendable {
  let values: [Atomic<Int>.Box]

  init(_ count: Int) { values = (0..<count).map { _ in Atomic<Int>.Box() } }

  func add(_ index: Int) { values[index].count.add(1, ordering: .relaxed) }
  var all: [Int] { values.map { $0.count.load(ordering: .relaxed) } }
}

extension Atomic<Int> {
  fileprivate final class Box: Sendable {
    let count = Atomic<Int>(0)
  }
}

@Suite struct ThreadPoolTests {
  @Test(arguments: [1, 2, 3]) func everyTaskRunsOnce(threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    for count in [0, 1, 2, 3, 7, 64, 1000] {
      let tasks = Counts(max(1, count))
      let threads = Counts(threadCount)
      pool.run(count) { task, thread in
        tasks.add(task)
        threads.add(thread)
      }
      #expect(tasks.all == [Int](repeating: count == 0 ? 0 : 1, count: max(1, count)))
      #expect(threads.all.reduce(0, +) == count)
    }
    pool.shutDown()
  }

  /// What the tasks wrote is there when the call returns, thousands of times in a row.
  @Test func manySmallJobs() {
    let pool = ThreadPool(threadCount: 2)
    let results = UnsafeMutablePointer<Int>.allocate(capacity: 16)
    defer { results.deallocate() }
    var wrong = 0
    for job in 0..<2000 {
      let count = 2 + job % 15
      nonisolated(unsafe) let target = results
      pool.run(count) { task, _ in target[task] = job * 31 + task }
      for task in 0..<count where results[task] != job * 31 + task { wrong += 1 }
    }
    #expect(wrong == 0)
    pool.shutDown()
  }

  /// Jobs whose length changes from one to the next, each using the results of the one before.
  @Test func nestedSizes() {
    let pool = ThreadPool(threadCount: 2)
    let cells = UnsafeMutablePointer<Int>.allocate(capacity: 64)
    defer { cells.deallocate() }
    cells.update(repeating: 0, count: 64)
    nonisolated(unsafe) let target = cells
    for outer in 1...24 {
      for innerCount in 1...outer {
        pool.forEachPart(of: innerCount) { part, _ in
          for index in part { target[index] += 1 }
        }
      }
    }
    // Cell i is raised once for each pair outer ≥ inner > i.
    for index in 0..<24 {
      let expected = (index + 1...24).reduce(0) { $0 + 24 - $1 + 1 }
      #expect(cells[index] == expected)
    }
    pool.shutDown()
  }

  @Test func parkedThreadsWakeUp() {
    let pool = ThreadPool(threadCount: 3)
    for _ in 0..<20 {
      usleep(4000)  // they spin for a fraction of a millisecond, then park
      let tasks = Counts(50)
      pool.run(50) { task, _ in tasks.add(task) }
      #expect(tasks.all == [Int](repeating: 1, count: 50))
    }
    usleep(4000)
    pool.shutDown()
  }

  /// Two tasks that wait for each other end only if two threads run them.
  @Test func twoThreadsRunAtTheSameTime() {
    let pool = ThreadPool(threadCount: 2)
    let arrived = Counts(2)
    let threads = Counts(2)
    pool.run(2) { task, thread in
      arrived.add(task)
      threads.add(thread)
      var patience = 20_000
      while arrived.all != [1, 1] && patience > 0 {
        usleep(500)
        patience -= 1
      }
    }
    #expect(arrived.all == [1, 1])
    #expect(threads.all == [1, 1])
    pool.shutDown()
  }

  @Test func startRunsOnceOnEachThreadAndShutDownEndsThem() {
    let started = Counts(1)
    let pool = ThreadPool(threadCount: 3) { started.add(0) }
    pool.run(100) { _, _ in }
    pool.shutDown()
    #expect(started.all == [3])
    pool.shutDown()
    // Never used, shut down at once.
    for _ in 0..<20 { ThreadPool(threadCount: 3).shutDown() }
  }

  @Test(arguments: [1, 2, 3]) func partsCoverEverythingOnce(threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    for multiple in [1, 8, 64] {
      for count in [0, 1, 7, 8, 9, 63, 64, 65, 200, 511] {
        let items = Counts(max(1, count))
        let isWrong = Counts(1)
        pool.forEachPart(of: count, multiple: multiple) { part, thread in
          if part.lowerBound % multiple != 0 || part.isEmpty { isWrong.add(0) }
          if part.upperBound % multiple != 0 && part.upperBound != count { isWrong.add(0) }
          if !(0..<threadCount).contains(thread) { isWrong.add(0) }
          for index in part { items.add(index) }
        }
        #expect(isWrong.all == [0])
        #expect(items.all == [Int](repeating: count == 0 ? 0 : 1, count: max(1, count)))
      }
    }
    pool.shutDown()
  }

  @Test func machineIsKnown() {
    #expect(Compute.isCPUSupported)
    #expect(Compute.availableCPUCount >= 1)
    #expect(Compute.onlineCPUCount >= Compute.availableCPUCount)
    #expect(libraryVersion.contains("OpenBLAS"))
  }
}
