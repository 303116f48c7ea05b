/** The mark: a boat on an even keel. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" className="ek-mark">
      <rect width="32" height="32" rx="8" fill="#0b6e6e" />
      <path d="M16 5.5v12" stroke="#fff" strokeWidth="2.4" strokeLinecap="round" />
      <path d="M7 15.5h18l-3.2 6.2a3 3 0 0 1-2.7 1.6h-6.2a3 3 0 0 1-2.7-1.6z" fill="#fff" />
      <path d="M5 26.4c1.850 0 1.850-1.4 3.7-1.4s1.850 1.4 3.650 1.4 1.850-1.4 3.650-1.4 1.850 1.4 3.650 1.4 1.850-1.4 3.7-1.4 1.850 1.4 3.650 1.4" fill="none" stroke="#8fe0d6" strokeWidth="2" strokeLinecap="round" />
    </svg>
  );
}
