/// Runs pairs of adjacent instructions with one dispatch: the first slot gets the pair's operation, the second stays as it is.
enum Fusion {
    static func fuse(_ slots: UnsafeMutablePointer<Instruction>, _ marks: UnsafeMutablePointer<Mark>, _ count: Int) {
    }
}
