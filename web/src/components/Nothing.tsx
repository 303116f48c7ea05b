import type { ReactNode } from 'react';

/** Where there is nothing to show: says so, why that may be, and what to do. */
export function Nothing({ title, hint, action }: { title: ReactNode; hint?: ReactNode; action?: ReactNode }) {
  return (
    <div className="ek-nothing">
      <svg viewBox="0 0 96 40" width="96" height="40" aria-hidden="true">
        <path d="M4 26c7.3 0 7.3-5 14.7-5S26 26 33.3 26s7.3-5 14.7-5 7.3 5 14.7 5 7.3-5 14.7-5 7.3 5 14.6 5" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" opacity=".5" />
        <path d="M12 35c6 0 6-4 12-4s6 4 12 4 6-4 12-4 6 4 12 4 6-4 12-4 6 4 12 4" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" opacity=".25" />
      </svg>
      <strong>{title}</strong>
      {hint && <p>{hint}</p>}
      {action}
    </div>
  );
}
